-- The primary metric over shots, one row per cell, and the average over datasets as dataset
-- 'AVERAGE'. A curve is all rows of one method and variant; a cell that is on two of them, as where
-- both the published settings and others were run, has a row in each. An average takes one cell of
-- each dataset, the latest where the variant does not tell them apart (an older revision of a method),
-- and its spread is that of the seeds all of them have. It is over the datasets that at least half of
-- the methods of a ground have; who lacks one of them, or failed on another, has no average, and
-- `missing` names what is lacking.
CREATE VIEW few_shot_curves AS
WITH seeds AS (
    SELECT
        scores.* REPLACE (lines.variant AS variant),
        row(protocol, method, backbone, shots, lines.variant, spec_setting, selection, views,
            test_rows_per_class) AS family
    FROM scores
    JOIN cell_variants AS lines USING (cell_id)
    JOIN protocols USING (protocol)
    WHERE is_primary AND split = lead AND tests NOT IN ('base and new', 'targets')
),
cells AS (
    SELECT
        protocol, method, dataset, backbone, shots, variant, setting, selection, views,
        test_rows_per_class, cell_id, family, metric,
        whole_mean(value) AS mean, whole_std(value) AS std, count(*) AS n,
        max(started_at) AS latest_at
    FROM seeds
    GROUP BY ALL
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
        row(protocol, method, backbone, shots, lines.variant, spec_setting, selection, views,
            test_rows_per_class) AS family
    FROM trials
    JOIN cell_variants AS lines USING (cell_id)
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
        family, whole_mean(mean) AS mean, count(cell_id) AS datasets,
        joint_setting(setting) AS setting,
        string_agg(dataset, ', ' ORDER BY dataset) FILTER (cell_id IS NOT NULL) AS covers,
        string_agg(dataset, ', ' ORDER BY dataset) FILTER (cell_id IS NULL) AS missing
    FROM expected
    LEFT JOIN latest USING (family, dataset)
    GROUP BY family
),
shared_seeds AS (
    SELECT family, seed, whole_mean(value) AS value
    FROM seeds
    JOIN averages USING (family)
    JOIN expected USING (family, dataset)
    WHERE missing IS NULL AND cell_id IN (SELECT cell_id FROM latest)
    GROUP BY family, seed, datasets
    HAVING count(*) = datasets
),
spreads AS (
    SELECT family, whole_std(value) AS std, count(*) AS n FROM shared_seeds GROUP BY family
),
lines AS (
    SELECT
        protocol, method, dataset, backbone, shots, mean, std, n, variant, cell_id, setting,
        selection, views, test_rows_per_class, 1 AS datasets, dataset AS covers, metric,
        NULL AS missing
    FROM cells
    UNION ALL BY NAME
    SELECT
        latest.protocol, latest.method, 'AVERAGE' AS dataset, latest.backbone, latest.shots,
        averages.mean, spreads.std, coalesce(spreads.n, 0) AS n, latest.variant,
        NULL AS cell_id, averages.setting, latest.selection, latest.views,
        latest.test_rows_per_class, datasets, covers, latest.metric, missing
    FROM averages
    JOIN (SELECT DISTINCT ON (family) * FROM latest) AS latest USING (family)
    LEFT JOIN spreads USING (family)
)
SELECT
    method, dataset, backbone, shots, mean, std, n,
    seeds_low(mean, std, n, t, low) AS ci95_low, seeds_high(mean, std, n, t, high) AS ci95_high,
    protocol, variant, cell_id, setting, selection, views, test_rows_per_class, datasets, covers,
    metric, missing
FROM lines
LEFT JOIN metric_definitions USING (metric)
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY
    dataset = 'AVERAGE', dataset, backbone, method, variant, shots_order(shots), protocol, cell_id;
