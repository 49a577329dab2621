-- Which class the test rows of a label were taken for, by trial: n rows, and the share of that
-- label's. Names are those of the version of the data set, or of the target, that was tested; NULL
-- where the store has that version no more.
CREATE VIEW confusions AS
WITH names AS (  -- a data set may be there under two names
    SELECT DISTINCT dataset_fingerprint AS fingerprint, label, class FROM classes
)
SELECT
    trial_id, split, counts.label AS label, counts.predicted AS predicted, actual.class AS class,
    guessed.class AS predicted_class, counts.n AS n, counts.n / of_label AS share, cell_id
FROM confusion_counts AS counts
LEFT JOIN names AS actual
    ON actual.fingerprint = tested_fingerprint AND actual.label = counts.label
LEFT JOIN names AS guessed
    ON guessed.fingerprint = tested_fingerprint AND guessed.label = counts.predicted;
