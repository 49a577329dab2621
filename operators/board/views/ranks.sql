-- The mean rank of each method over the data sets that are compared (dataset_ranks), with Friedman's
-- test that all methods are alike and the less conservative form of it by Iman and Davenport
-- (ranking.py, computed when the board is filled), and Nemenyi's
-- critical difference: two methods whose mean ranks are further apart differ at the 5 % level, with
-- the correction for all pairs in it. Both treat data sets as the sample: with fewer than some ten
-- of them little can be said, and of one nothing.
--
-- Source: Demsar, "Statistical comparisons of classifiers over multiple data sets", Journal of
-- Machine Learning Research 7, 2006, section 3.2.2.
CREATE VIEW ranks AS
WITH lines AS (
    SELECT
        ground, method, variant, any_value(better) AS better, any_value(setting) AS setting,
        avg(rank) AS mean_rank, count(mean) FILTER (compared) AS datasets,
        string_agg(dataset, ', ' ORDER BY dataset) FILTER (compared AND mean IS NOT NULL) AS covers,
        string_agg(dataset, ', ' ORDER BY dataset) FILTER (compared AND mean IS NULL) AS missing,
        string_agg(dataset, ', ' ORDER BY dataset) FILTER (NOT compared) AS left_out
    FROM dataset_ranks
    GROUP BY ground, method, variant
),
counted AS (
    SELECT *, count(mean_rank) OVER (PARTITION BY ground) AS ranked FROM lines
),
tests AS (
    SELECT
        {
            protocol: protocol, source: source, backbone: backbone, shots: shots, split: split,
            metric: metric, test_rows_per_class: test_rows_per_class
        } AS ground,
        statistic, p, iman_davenport, iman_davenport_p
    FROM friedman_tests
)
SELECT
    ground.protocol AS protocol, ground.source AS source, ground.backbone AS backbone,
    ground.shots AS shots, method, counted.variant AS variant, ground.split AS split,
    ground.metric AS metric, mean_rank, ranked AS methods, counted.datasets AS datasets, covers,
    missing, left_out, tests.statistic AS friedman, tests.p AS friedman_p,
    CASE WHEN mean_rank IS NOT NULL AND counted.datasets > 1 THEN
        q / sqrt(2) * sqrt(ranked * (ranked + 1) / (6 * counted.datasets))
    END AS critical_difference,
    ground.test_rows_per_class AS test_rows_per_class, setting, better,
    iman_davenport, iman_davenport_p
FROM counted
LEFT JOIN tests USING (ground)
LEFT JOIN studentized_ranges ON studentized_ranges.methods = ranked
ORDER BY
    protocol, source, backbone, shots_order(shots), split, test_rows_per_class, mean_rank, method,
    variant;
