-- The primary metric averaged over data sets, one row for each method and variant on a ground. All
-- averages of a ground are over the same data sets: those that at least half of its methods have
-- (dataset_ranks). A method that lacks one of them has no average, and `missing` names what it
-- lacks; `left_out` names the data sets that few methods have, which nobody's average is over. The
-- spread is that of the average of each seed, over the seeds which all its data sets have.
CREATE VIEW averages AS
WITH placed AS MATERIALIZED (SELECT * FROM dataset_ranks),
lines AS (
    SELECT
        ground, method, variant, any_value(better) AS better, any_value(setting) AS setting,
        CASE WHEN bool_and(is_whole) THEN avg(mean ORDER BY mean) FILTER (compared) END AS mean,
        count(mean) FILTER (compared) AS datasets,
        string_agg(dataset, ', ' ORDER BY dataset) FILTER (compared AND mean IS NOT NULL) AS covers,
        string_agg(dataset, ', ' ORDER BY dataset) FILTER (compared AND mean IS NULL) AS missing,
        string_agg(dataset, ', ' ORDER BY dataset) FILTER (NOT compared) AS left_out
    FROM placed
    GROUP BY ground, method, variant
),
whole AS (
    SELECT ground, method, variant, dataset, count(*) OVER (PARTITION BY ground, method, variant)
        AS datasets
    FROM placed
    WHERE compared AND is_whole
),
shared_seeds AS (
    SELECT ground, method, variant, seed, whole_mean(value) AS value
    FROM dataset_scores
    JOIN whole USING (ground, method, variant, dataset)
    GROUP BY ground, method, variant, seed, datasets
    HAVING count(*) = datasets
),
spreads AS (
    SELECT ground, method, variant, whole_std(value) AS std, count(*) AS n
    FROM shared_seeds
    GROUP BY ground, method, variant
)
SELECT
    ground.protocol AS protocol, ground.source AS source, ground.backbone AS backbone,
    ground.shots AS shots, method, variant, ground.split AS split, ground.metric AS metric, mean,
    std, coalesce(n, 0) AS n, seeds_low(mean, std, n, t, low) AS ci95_low,
    seeds_high(mean, std, n, t, high) AS ci95_high,
    CASE WHEN mean IS NOT NULL THEN
        rank() OVER (PARTITION BY ground ORDER BY goodness(mean, lines.better) DESC NULLS LAST)
    END AS rank,
    datasets, covers, missing, left_out, ground.test_rows_per_class AS test_rows_per_class,
    setting, lines.better AS better
FROM lines
LEFT JOIN spreads USING (ground, method, variant)
LEFT JOIN metric_definitions ON metric_definitions.metric = ground.metric
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY
    protocol, source, backbone, shots_order(shots), split, test_rows_per_class, rank, method,
    variant;
