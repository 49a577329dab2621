-- How many test rows of each class a cell had right: mean over its seeds, with their spread. Only
-- of what predicts labels. Names are those of the version of the data set, or of the target, that was
-- tested; NULL where the store has that version no more.
CREATE VIEW class_accuracies AS
WITH names AS (  -- a data set may be there under two names
    SELECT DISTINCT dataset_fingerprint AS fingerprint, label, class FROM classes
),
seeds AS (
    SELECT
        trial_id, cell_id, split, label, any_value(tested_fingerprint) AS tested_fingerprint,
        any_value(of_label) AS of_label,
        coalesce(sum(counts.n) FILTER (label = predicted), 0) / any_value(of_label) AS accuracy
    FROM confusion_counts AS counts
    GROUP BY trial_id, cell_id, split, label
),
cells AS (
    SELECT
        cell_id, split, label, any_value(tested_fingerprint) AS tested_fingerprint,
        avg(accuracy ORDER BY accuracy) AS mean,
        stddev_samp(accuracy ORDER BY accuracy) AS std, count(*) AS n,
        min(of_label) AS test_rows
    FROM seeds
    GROUP BY cell_id, split, label
),
places AS (
    SELECT DISTINCT ON (cell_id)
        cell_id, protocol, dataset, backbone, shots, method, variant, test_rows_per_class
    FROM trials
)
SELECT
    protocol, dataset, backbone, shots, method, variant, split, cells.label AS label, class, mean,
    std, n, seeds_low(mean, std, n, t, 0) AS ci95_low, seeds_high(mean, std, n, t, 1) AS ci95_high,
    wilson_low(mean, test_rows) AS images_ci95_low,
    wilson_high(mean, test_rows) AS images_ci95_high, test_rows, test_rows_per_class, cell_id
FROM cells
JOIN places USING (cell_id)
LEFT JOIN names ON fingerprint = tested_fingerprint AND names.label = cells.label
LEFT JOIN t_values ON df = least(n - 1, 200);
