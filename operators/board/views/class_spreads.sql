-- How evenly a cell treats its classes: the spread of their accuracies (class_accuracies), each a
-- mean over seeds. `mean` is the metric per_class_mean. Standard deviation and quartiles are over the
-- classes that occur in the test rows, which are all there are and no sample.
CREATE VIEW class_spreads AS
WITH accuracies AS (
    SELECT
        cell_id, split, label, any_value(of_label) AS test_rows,
        sum(CASE WHEN label = predicted THEN counts.n / of_label ELSE 0 END ORDER BY counts.n / of_label)
            / count(DISTINCT trial_id) AS mean
    FROM confusion_counts AS counts
    GROUP BY cell_id, split, label
),
cells AS (
    SELECT
        cell_id, split, count(*) AS classes, avg(mean ORDER BY mean) AS mean,
        stddev_pop(mean ORDER BY mean) AS std,
        min(mean) AS worst, quantile_cont(mean, 0.25) AS quartile1, median(mean) AS median,
        quantile_cont(mean, 0.75) AS quartile3, max(mean) AS best,
        arg_min(label, (mean, label)) AS worst_label, arg_max(label, (mean, -label)) AS best_label
    FROM accuracies
    GROUP BY cell_id, split
),
places AS (
    SELECT DISTINCT ON (cell_id)
        cell_id, protocol, dataset, backbone, shots, method, variant, test_rows_per_class
    FROM trials
)
SELECT
    protocol, dataset, backbone, shots, method, variant, split, classes, mean, std, worst,
    quartile1, median, quartile3, best, worst_label, best_label, test_rows_per_class, cell_id
FROM cells
JOIN places USING (cell_id);
