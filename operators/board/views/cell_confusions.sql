-- Which class the test rows of a label were taken for, by cell: rows of all its seeds together.
CREATE VIEW cell_confusions AS
WITH counted AS MATERIALIZED (
    SELECT
        cell_id, split, label, predicted, sum(n)::BIGINT AS n,
        any_value(tested_fingerprint) AS tested_fingerprint
    FROM confusion_counts
    GROUP BY cell_id, split, label, predicted
),
totals AS (
    SELECT cell_id, split, label, sum(n) AS of_label FROM counted GROUP BY cell_id, split, label
),
names AS (  -- a data set may be there under two names
    SELECT DISTINCT dataset_fingerprint AS fingerprint, label, class FROM classes
),
cells AS (
    SELECT DISTINCT ON (cell_id) cell_id, protocol, dataset, backbone, shots, method, variant
    FROM trials
)
SELECT
    protocol, dataset, backbone, shots, method, variant, split, counted.label AS label,
    counted.predicted AS predicted, actual.class AS class, guessed.class AS predicted_class, n,
    n / of_label AS share, cell_id
FROM counted
JOIN totals USING (cell_id, split, label)
JOIN cells USING (cell_id)
LEFT JOIN names AS actual
    ON actual.fingerprint = tested_fingerprint AND actual.label = counted.label
LEFT JOIN names AS guessed
    ON guessed.fingerprint = tested_fingerprint AND guessed.label = counted.predicted;
