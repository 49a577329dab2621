-- One row per cell, split and metric: trials that differ in anything but the seed are never
-- averaged together. The interval over seeds is Student's, two-sided; beyond 200 degrees of freedom
-- it keeps the value for 200, which is 0.6 % wide at most. Where seeds do not vary it is NULL: that
-- is no certainty. The interval over test images is Wilson's, of the mean share of rows. A metric
-- that is not known of each seed leaves its cell without a mean and without a rank.
CREATE VIEW leaderboard AS
WITH cells AS (
    SELECT
        protocol, dataset, shots, backbone, method, split, metric, variant, cell_id,
        test_rows_per_class, setting, selection, views, template_set, method_revision, track,
        is_primary, inference, unseen_head, whole_mean(value) AS mean, whole_std(value) AS std,
        count(*) AS n, min(n) AS test_rows,
        max(started_at) AS latest_at
    FROM scores
    GROUP BY ALL
)
SELECT
    protocol, dataset, shots, backbone, method, split, metric, mean, std, n,
    seeds_low(mean, std, n, t, low) AS ci95_low, seeds_high(mean, std, n, t, high) AS ci95_high,
    CASE WHEN mean IS NOT NULL THEN rank() OVER (
        -- Scores on a part of the test rows do not compete with scores on all of them.
        PARTITION BY protocol, dataset, shots, backbone, split, metric, test_rows_per_class
        ORDER BY goodness(mean, better) DESC NULLS LAST
    ) END AS rank,
    variant, cell_id, test_rows_per_class, setting, selection, views, template_set,
    method_revision, latest_at,
    CASE WHEN proportion THEN wilson_low(mean, test_rows) END AS images_ci95_low,
    CASE WHEN proportion THEN wilson_high(mean, test_rows) END AS images_ci95_high,
    track, is_primary, better, inference, unseen_head
FROM cells
LEFT JOIN metric_definitions USING (metric)
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY
    protocol, dataset, shots_order(shots), backbone, split, metric, rank, method, variant, cell_id;
