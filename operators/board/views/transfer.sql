-- What was tuned on a source dataset, evaluated on targets: the common ground of cross_dataset
-- and domain_generalization. Split 'all' is the source's own test set. Target 'AVERAGE' is the
-- mean over a trial's targets, its source left out.
CREATE VIEW transfer AS
WITH seeds AS (
    SELECT *, CASE split WHEN 'all' THEN dataset ELSE split END AS target, target = dataset AS is_source
    FROM scores
    WHERE protocol IN ('cross_dataset', 'domain_generalization') AND metric = 'accuracy'
),
lines AS (
    SELECT * EXCLUDE (n), 1 AS targets FROM seeds
    UNION ALL BY NAME
    SELECT
        trial_id, cell_id, protocol, dataset, shots, backbone, method, seed, variant,
        test_rows_per_class, setting, selection, views, 'AVERAGE' AS target, false AS is_source,
        avg(value) AS value, count(*) AS targets
    FROM seeds
    WHERE NOT is_source
    GROUP BY trial_id, cell_id, protocol, dataset, shots, backbone, method, seed, variant,
        test_rows_per_class, setting, selection, views
),
cells AS (
    SELECT
        protocol, dataset AS source, target, shots, backbone, method, variant, cell_id,
        is_source, test_rows_per_class, setting, selection, views,
        min(targets) AS targets, avg(value) AS mean, stddev_samp(value) AS std, count(*) AS n
    FROM lines
    GROUP BY protocol, dataset, target, shots, backbone, method, variant, cell_id, is_source,
        test_rows_per_class, setting, selection, views
)
SELECT
    protocol, source, target, shots, backbone, method, mean, std, n,
    seeds_low(mean, std, n, t) AS ci95_low, seeds_high(mean, std, n, t) AS ci95_high,
    is_source, targets, variant, cell_id, setting, selection, views, test_rows_per_class
FROM cells
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY
    protocol, source, backbone, shots, method, variant, cell_id, NOT is_source,
    target = 'AVERAGE', target;
