-- What was tuned on a source dataset, evaluated on targets: the common ground of cross_dataset
-- and domain_generalization. Split 'all' is the source's own test set. Target 'AVERAGE' is the
-- mean over a trial's targets, its source left out. Where a domain is held out, each is a cell of
-- its own, and 'AVERAGE' is the mean over the latest cell of each domain; its spread is that of the
-- seeds which all domains have, and `covers` names them.
CREATE VIEW transfer AS
WITH seeds AS (
    SELECT
        *, split = 'all' AND held_out = '' AS is_source,
        CASE WHEN is_source THEN dataset ELSE split END AS target,
        {
            protocol: protocol, dataset: dataset, method: method, backbone: backbone, shots: shots,
            variant: variant, setting: spec_setting, selection: selection, views: views,
            test_rows_per_class: test_rows_per_class, metric: metric
        } AS family
    FROM scores
    WHERE is_primary AND protocol IN (SELECT protocol FROM protocols WHERE tests = 'targets')
),
averages AS (  -- over the targets of one trial
    SELECT
        trial_id, cell_id, protocol, dataset, shots, backbone, method, seed, variant,
        test_rows_per_class, setting, selection, views, metric, held_out, 'AVERAGE' AS target,
        false AS is_source, whole_mean(value) AS value, count(*) AS targets,
        string_agg(target, ', ' ORDER BY target) AS covers
    FROM seeds
    WHERE NOT is_source AND held_out = ''
    GROUP BY trial_id, cell_id, protocol, dataset, shots, backbone, method, seed, variant,
        test_rows_per_class, setting, selection, views, metric, held_out
),
lines AS (
    SELECT * EXCLUDE (n), 1 AS targets, target AS covers FROM seeds
    UNION ALL BY NAME
    SELECT * FROM averages
),
cells AS (
    SELECT
        protocol, dataset AS source, target, shots, backbone, method, variant, cell_id,
        is_source, test_rows_per_class, setting, selection, views, metric, covers,
        CASE held_out WHEN '' THEN cell_id ELSE '' END AS together, min(targets) AS targets,
        whole_mean(value) AS mean, whole_std(value) AS std, count(*) AS n
    FROM lines
    GROUP BY protocol, dataset, target, shots, backbone, method, variant, cell_id, is_source,
        test_rows_per_class, setting, selection, views, metric, covers, held_out
),
held_out AS (
    SELECT family, target, cell_id, setting, whole_mean(value) AS value
    FROM seeds
    WHERE held_out <> ''
    GROUP BY family, target, cell_id, setting
    QUALIFY row_number() OVER (
        PARTITION BY family, target ORDER BY max(started_at) DESC, cell_id
    ) = 1
),
domains AS (
    SELECT
        family, whole_mean(value) AS mean, count(*) AS targets, joint_setting(setting) AS setting,
        string_agg(target, ', ' ORDER BY target) AS covers
    FROM held_out
    GROUP BY family
),
shared_seeds AS (
    SELECT family, seed, whole_mean(seeds.value) AS value
    FROM seeds
    JOIN held_out USING (family, target, cell_id)
    JOIN domains USING (family)
    GROUP BY family, seed, targets
    HAVING count(*) = targets
),
spreads AS (
    SELECT family, count(*) AS n, whole_std(value) AS std FROM shared_seeds GROUP BY family
),
every AS (
    SELECT * FROM cells
    UNION ALL BY NAME
    SELECT
        family.protocol, family.dataset AS source, 'AVERAGE' AS target, family.shots,
        family.backbone, family.method, family.variant, NULL AS cell_id, false AS is_source,
        family.test_rows_per_class, domains.setting, family.selection, family.views,
        family.metric, covers, '' AS together, targets, mean, std, coalesce(n, 0) AS n
    FROM domains
    LEFT JOIN spreads USING (family)
)
SELECT
    protocol, every.source, target, shots, backbone, method, mean, std, n,
    seeds_low(mean, std, n, t, low) AS ci95_low, seeds_high(mean, std, n, t, high) AS ci95_high,
    is_source, targets, variant, cell_id, setting, selection, views, test_rows_per_class, metric,
    covers
FROM every
LEFT JOIN metric_definitions USING (metric)
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY
    protocol, every.source, backbone, shots_order(shots), method, variant, together, NOT is_source,
    target = 'AVERAGE', target, cell_id;
