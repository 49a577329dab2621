-- The primary metric on base and on new classes and their harmonic mean h (of shares of which more
-- is better; NULL of others), one row per cell, and the
-- average over datasets as dataset 'AVERAGE'. Two conventions circulate: `h` is the mean over
-- seeds (and datasets) of each h, `h_of_means` the h of the averaged base and new, which is what
-- most papers print. Of each dataset an average takes the latest cell that the variant does not
-- tell apart, and its spread is that of the seeds which all its datasets have. It is over the
-- datasets that at least half of the methods have; who lacks one of them, or failed on another, has
-- no average, and `missing` names what is lacking.
CREATE VIEW base_to_new AS
WITH seeds AS (
    SELECT
        scores.*, scores.value AS base, other.value AS new,
        CASE WHEN better = 'higher' AND low = 0 AND high = 1 THEN harmonic(base, new) END AS h,
        row(protocol, method, backbone, shots, variant, spec_setting, selection, views,
            test_rows_per_class) AS family
    FROM scores
    JOIN metrics AS other USING (trial_id, metric)
    LEFT JOIN metric_definitions USING (metric)
    WHERE is_primary
        AND protocol IN (SELECT protocol FROM protocols WHERE tests = 'base and new')
        AND scores.split = 'base' AND other.split = 'new'
),
cells AS (
    SELECT
        protocol, dataset, shots, backbone, method, variant, setting, selection, views,
        test_rows_per_class, cell_id, family, metric,
        whole_mean(base) AS base, whole_mean(new) AS new, whole_mean(h) AS h, count(*) AS n,
        whole_std(base) AS base_std, whole_std(new) AS new_std, whole_std(h) AS h_std,
        max(started_at) AS latest_at
    FROM seeds
    GROUP BY protocol, dataset, shots, backbone, method, variant, setting, selection, views,
        test_rows_per_class, cell_id, family, metric
),
latest AS (
    SELECT *
    FROM cells
    QUALIFY row_number() OVER (PARTITION BY family, dataset ORDER BY latest_at DESC, cell_id) = 1
),
ground_methods AS (  -- which data sets each method has on a ground, and how many methods there are
    SELECT
        *, len(list(DISTINCT line) OVER (PARTITION BY ground)) AS methods
    FROM (
        SELECT
            family, dataset, row(method, variant) AS line,
            row(protocol, backbone, shots, test_rows_per_class) AS ground
        FROM latest
    )
),
failed AS (
    SELECT DISTINCT
        dataset,
        row(protocol, method, backbone, shots, variant, spec_setting, selection, views,
            test_rows_per_class) AS family
    FROM trials
    WHERE status = 'failed'
),
expected AS (  -- the data sets of an average: what at least half of the methods of a ground have,
    -- and what this one was asked for and failed on
    SELECT families.family, dataset
    FROM (SELECT DISTINCT family, ground, methods FROM ground_methods) AS families
    JOIN (
        SELECT ground, dataset
        FROM ground_methods
        GROUP BY ground, dataset, methods
        HAVING 2 * count(DISTINCT line) >= methods
    ) USING (ground)
    UNION
    SELECT latest.family, failed.dataset
    FROM failed
    JOIN (SELECT DISTINCT family FROM latest) AS latest USING (family)
),
averages AS (
    SELECT
        family, whole_mean(base) AS base, whole_mean(new) AS new, whole_mean(h) AS h,
        count(cell_id) AS datasets, joint_setting(setting) AS setting,
        string_agg(dataset, ', ' ORDER BY dataset) FILTER (cell_id IS NOT NULL) AS covers,
        string_agg(dataset, ', ' ORDER BY dataset) FILTER (cell_id IS NULL) AS missing
    FROM expected
    LEFT JOIN latest USING (family, dataset)
    GROUP BY family
),
shared_seeds AS (
    SELECT
        family, seed, whole_mean(seeds.base) AS base, whole_mean(seeds.new) AS new,
        whole_mean(seeds.h) AS h
    FROM seeds
    JOIN averages USING (family)
    JOIN expected USING (family, dataset)
    WHERE missing IS NULL AND cell_id IN (SELECT cell_id FROM latest)
    GROUP BY family, seed, datasets
    HAVING count(*) = datasets
),
spreads AS (
    SELECT
        family, count(*) AS n, whole_std(base) AS base_std, whole_std(new) AS new_std,
        whole_std(h) AS h_std
    FROM shared_seeds
    GROUP BY family
),
lines AS (
    SELECT * EXCLUDE (family, latest_at), 1 AS datasets, dataset AS covers, NULL AS missing
    FROM cells
    UNION ALL BY NAME
    SELECT
        latest.protocol, 'AVERAGE' AS dataset, latest.shots, latest.backbone, latest.method,
        latest.variant, averages.setting, latest.selection, latest.views,
        latest.test_rows_per_class, latest.metric,
        NULL AS cell_id, averages.base, averages.new, averages.h, coalesce(spreads.n, 0) AS n,
        spreads.base_std, spreads.new_std, spreads.h_std, datasets, covers, missing
    FROM averages
    JOIN (SELECT DISTINCT ON (family) * FROM latest) AS latest USING (family)
    LEFT JOIN spreads USING (family)
)
SELECT
    dataset, shots, backbone, method, base, new, h,
    CASE WHEN h IS NOT NULL THEN harmonic(base, new) END AS h_of_means,
    n, base_std, new_std, h_std,
    seeds_low(h, h_std, n, t, 0) AS h_ci95_low, seeds_high(h, h_std, n, t, 1) AS h_ci95_high,
    variant, cell_id, setting, selection, views, test_rows_per_class, datasets, covers, metric,
    protocol, missing, unseen_head
FROM lines
LEFT JOIN unseen_heads USING (protocol, method)
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY
    dataset = 'AVERAGE', dataset, shots_order(shots), backbone, h_of_means DESC, method, variant,
    cell_id;
