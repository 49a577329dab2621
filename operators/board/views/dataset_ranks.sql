-- The place of each method among those of its ground on each data set that is compared: the best has
-- 1, those with the same score share the mean of their places.
--
-- Compared are the data sets that at least half of the methods have. A method that lacks one of them
-- has no place anywhere, for an average over other data sets is another quantity; `missing` names
-- what it lacks. Settings of one method, told apart by their variant, stand for themselves.
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
grid AS (
    SELECT
        ground, method, variant, dataset, compared, mean, methods_of.better, methods_of.setting,
        -- Scores that differ by rounding alone are the same.
        goodness(round(mean, 12), methods_of.better) AS goodness,
        bool_and(mean IS NOT NULL OR NOT compared) OVER (PARTITION BY ground, method, variant)
            AS is_whole
    FROM methods_of
    JOIN datasets_of USING (ground)
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
