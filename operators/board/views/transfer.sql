-- What was tuned on a source dataset, evaluated on targets: the common ground of cross_dataset
-- and domain_generalization. Split 'all' is the source's own test set. Target 'AVERAGE' is the
-- mean over a trial's targets, its source left out.
CREATE VIEW transfer AS
WITH seeds AS (
    SELECT *, CASE split WHEN 'all' THEN dataset ELSE split END AS target, target = dataset AS is_source
    FROM scores
    WHERE is_primary AND protocol IN (SELECT protocol FROM protocols WHERE tests = 'targets')
),
lines AS (
    SELECT * EXCLUDE (n), 1 AS targets FROM seeds
    UNION ALL BY NAME
    SELECT
        trial_id, cell_id, protocol, dataset, shots, backbone, method, seed, variant,
        test_rows_per_class, setting, selection, views, metric, 'AVERAGE' AS target,
        false AS is_source, whole_mean(value) AS value, count(*) AS targets
    FROM seeds
    WHERE NOT is_source
    GROUP BY trial_id, cell_id, protocol, dataset, shots, backbone, method, seed, variant,
        test_rows_per_class, setting, selection, views, metric
),
cells AS (
    SELECT
        protocol, dataset AS source, target, shots, backbone, method, variant, cell_id,
        is_source, test_rows_per_class, setting, selection, views, metric,
        min(targets) AS targets, whole_mean(value) AS mean, whole_std(value) AS std, count(*) AS n
    FROM lines
    GROUP BY protocol, dataset, target, shots, backbone, method, variant, cell_id, is_source,
        test_rows_per_class, setting, selection, views, metric
)
SELECT
    protocol, cells.source, target, shots, backbone, method, mean, std, n,
    seeds_low(mean, std, n, t, low) AS ci95_low, seeds_high(mean, std, n, t, high) AS ci95_high,
    is_source, targets, variant, cell_id, setting, selection, views, test_rows_per_class, metric
FROM cells
LEFT JOIN metric_definitions USING (metric)
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY
    protocol, cells.source, backbone, shots, method, variant, cell_id, NOT is_source,
    target = 'AVERAGE', target;
