-- One row per cell, split and metric: trials that differ in anything but the seed are never
-- averaged together. The interval is Student's, two-sided; beyond 200 degrees of freedom it
-- keeps the value for 200, which is 0.6 % wide at most.
CREATE VIEW leaderboard AS
WITH cells AS (
    SELECT
        protocol, dataset, shots, backbone, method, split, metric, variant, cell_id,
        test_rows_per_class, setting, selection, views, template_set, method_revision,
        -- A seed whose value is not a number leaves its cell without a mean.
        CASE WHEN count(value) = count(*) THEN avg(value) END AS mean,
        CASE WHEN count(value) = count(*) THEN stddev_samp(value) END AS std,
        count(*) AS n,
        max(started_at) AS latest_at
    FROM scores
    GROUP BY ALL
)
SELECT
    protocol, dataset, shots, backbone, method, split, metric, mean, std, n,
    mean - t * std / sqrt(n) AS ci95_low,
    mean + t * std / sqrt(n) AS ci95_high,
    rank() OVER (
        -- Scores on a part of the test rows do not compete with scores on all of them.
        PARTITION BY protocol, dataset, shots, backbone, split, metric, test_rows_per_class
        ORDER BY CASE WHEN metric IN ('ece', 'nll', 'brier') THEN mean ELSE -mean END NULLS LAST
    ) AS rank,
    variant, cell_id, test_rows_per_class, setting, selection, views, template_set,
    method_revision, latest_at
FROM cells
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY protocol, dataset, shots, backbone, split, metric, rank, method, variant, cell_id;
