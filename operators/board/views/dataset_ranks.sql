-- The place of each method among those of its ground on each data set that is compared: the best has
-- 1, those with the same score share the mean of their places.
--
-- Compared are the data sets that at least half of the methods have. A method that lacks one of them
-- has no place anywhere, for an average over other data sets is another quantity; `missing` names
-- what it lacks, be it what others have or what it failed on. Settings of one method, told apart by
-- their variant, stand for themselves.
CREATE VIEW dataset_ranks AS
WITH means AS (
    SELECT
        ground, method, variant, dataset, whole_mean(value) AS mean,
        joint_setting(setting) AS setting,
        any_value(better) AS better
    FROM dataset_scores
    GROUP BY ground, method, variant, dataset
),
methods_of AS (
    SELECT
        ground, method, variant, any_value(better) AS better,
        joint_setting(setting) AS setting,
        count(*) OVER (PARTITION BY ground) AS methods
    FROM means
    GROUP BY ground, method, variant
),
datasets_of AS (
    SELECT ground, dataset, 2 * count(mean) >= any_value(methods) AS compared
    FROM means
    JOIN methods_of USING (ground, method, variant)
    GROUP BY ground, dataset
),
failed AS (  -- where a method was asked for numbers, and failed
    SELECT DISTINCT
        {
            protocol: protocol, source: source, backbone: backbone, shots: shots, split: split,
            metric: metric, test_rows_per_class: test_rows_per_class
        } AS ground,
        method, variant, tested AS dataset
    FROM (
        SELECT
            protocol, CASE tests WHEN 'targets' THEN dataset END AS source, backbone, shots,
            primary_metric AS metric, test_rows_per_class, method, lines.variant AS variant,
            unnest(CASE tests
                WHEN 'targets' THEN ['targets']
                WHEN 'base and new' THEN ['base', 'new', 'H']
                ELSE string_split(tests, ' and ')
            END) AS split,
            CASE
                WHEN tests <> 'targets' THEN [dataset]
                WHEN held_out <> '' THEN [held_out]
                ELSE json_keys(targets::JSON)
            END AS names
        FROM trials
        JOIN cell_variants AS lines USING (cell_id)
        JOIN protocols USING (protocol)
        WHERE status = 'failed' AND tested_on = 'test'
    )
    CROSS JOIN unnest(names) AS each_one(tested)
),
asked AS (  -- what nobody has a number on, after all were asked, is a gap too
    SELECT ground, method, variant, dataset, compared
    FROM methods_of
    JOIN datasets_of USING (ground)
    UNION
    SELECT ground, method, variant, dataset, true AS compared
    FROM failed
    SEMI JOIN methods_of USING (ground, method, variant)
    ANTI JOIN datasets_of USING (ground, dataset)
),
grid AS (
    SELECT
        ground, method, variant, dataset, compared, mean, methods_of.better, methods_of.setting,
        -- Scores that differ by rounding alone are the same.
        goodness(round(mean, 12), methods_of.better) AS goodness,
        bool_and(mean IS NOT NULL OR NOT compared) OVER (PARTITION BY ground, method, variant)
            AS is_whole
    FROM asked
    JOIN methods_of USING (ground, method, variant)
    LEFT JOIN means USING (ground, method, variant, dataset)
)
SELECT
    ground.protocol AS protocol, ground.source AS source, ground.backbone AS backbone,
    ground.shots AS shots, method, variant, dataset, ground.split AS split,
    ground.metric AS metric, mean,
    CASE WHEN compared AND is_whole THEN
        rank() OVER (PARTITION BY ground, dataset, is_whole ORDER BY goodness DESC)
        + (count(*) OVER (PARTITION BY ground, dataset, is_whole, goodness) - 1) / 2
    END AS rank,
    compared, is_whole, ground.test_rows_per_class AS test_rows_per_class, setting, better, ground
FROM grid
ORDER BY
    protocol, source, backbone, shots_order(shots), split, test_rows_per_class, dataset, rank,
    method, variant;
