-- What was tuned on a source dataset, evaluated on targets: the common ground of cross_dataset
-- and domain_generalization. Split 'all' is the source's own test set. Target 'AVERAGE' is the
-- mean over a trial's targets, its source left out. Where a domain is held out, each is a cell of
-- its own, and 'AVERAGE' is the mean over the latest cell of each domain; its spread is that of the
-- seeds which all domains have, and `covers` names them. An average over targets is over those that
-- at least half of the methods of a source have, one over domains over all that anybody was asked
-- about. Who lacks one of them has no average, and `missing` names what is lacking.
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
grounds AS (  -- which targets each method has on a ground, and how many methods there are
    SELECT *, len(list(DISTINCT line) OVER (PARTITION BY ground)) AS methods
    FROM (
        SELECT
            trial_id, target, row(method, variant) AS line,
            row(protocol, dataset, backbone, shots, test_rows_per_class) AS ground
        FROM seeds
        WHERE NOT is_source AND held_out = ''
    )
),
expected AS (  -- the targets of an average: those that at least half of the methods have
    SELECT trial_id, target
    FROM (SELECT DISTINCT trial_id, ground FROM grounds)
    JOIN (
        SELECT ground, target
        FROM grounds
        GROUP BY ground, target, methods
        HAVING 2 * count(DISTINCT line) >= methods
    ) USING (ground)
),
averages AS (  -- over the targets of one trial
    SELECT
        trial_id, any_value(cell_id) AS cell_id, any_value(protocol) AS protocol,
        any_value(dataset) AS dataset, any_value(shots) AS shots,
        any_value(backbone) AS backbone, any_value(method) AS method, any_value(seed) AS seed,
        any_value(variant) AS variant, any_value(test_rows_per_class) AS test_rows_per_class,
        any_value(setting) AS setting, any_value(selection) AS selection,
        any_value(views) AS views, any_value(metric) AS metric, any_value(held_out) AS held_out,
        'AVERAGE' AS target, false AS is_source, whole_mean(value) AS value,
        count(cell_id) AS targets,
        string_agg(target, ', ' ORDER BY target) FILTER (cell_id IS NOT NULL) AS covers,
        string_agg(target, ', ' ORDER BY target) FILTER (value IS NULL) AS missing
    FROM expected
    LEFT JOIN (FROM seeds WHERE NOT is_source AND held_out = '') USING (trial_id, target)
    GROUP BY trial_id
    HAVING count(cell_id) > 0
),
lines AS (
    SELECT * EXCLUDE (n), 1 AS targets, target AS covers, NULL AS missing FROM seeds
    UNION ALL BY NAME
    SELECT * FROM averages
),
cells AS (
    SELECT
        protocol, dataset AS source, target, shots, backbone, method, variant, cell_id,
        is_source, test_rows_per_class, setting, selection, views, metric, covers, missing,
        CASE held_out WHEN '' THEN cell_id ELSE '' END AS together, min(targets) AS targets,
        whole_mean(value) AS mean, whole_std(value) AS std, count(*) AS n
    FROM lines
    GROUP BY protocol, dataset, target, shots, backbone, method, variant, cell_id, is_source,
        test_rows_per_class, setting, selection, views, metric, covers, missing, held_out
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
asked AS (  -- all domains that anybody was asked about, also where it failed
    SELECT DISTINCT family, trials.held_out AS target
    FROM (SELECT DISTINCT family FROM held_out) AS families
    JOIN trials
        ON trials.protocol = families.family.protocol AND trials.dataset = families.family.dataset
        AND trials.held_out <> ''
),
domains AS (
    SELECT
        family, whole_mean(value) AS mean, count(cell_id) AS targets,
        joint_setting(setting) AS setting,
        string_agg(target, ', ' ORDER BY target) FILTER (cell_id IS NOT NULL) AS covers,
        string_agg(target, ', ' ORDER BY target) FILTER (value IS NULL) AS missing
    FROM asked
    LEFT JOIN held_out USING (family, target)
    GROUP BY family
),
shared_seeds AS (
    SELECT family, seed, whole_mean(seeds.value) AS value
    FROM seeds
    JOIN held_out USING (family, target, cell_id)
    JOIN domains USING (family)
    WHERE missing IS NULL
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
        family.metric, covers, missing, '' AS together, targets, mean, std, coalesce(n, 0) AS n
    FROM domains
    LEFT JOIN spreads USING (family)
)
SELECT
    protocol, every.source, target, shots, backbone, method, mean, std, n,
    seeds_low(mean, std, n, t, low) AS ci95_low, seeds_high(mean, std, n, t, high) AS ci95_high,
    is_source, targets, variant, cell_id, setting, selection, views, test_rows_per_class, metric,
    covers, missing, CASE WHEN NOT is_source THEN unseen_head END AS unseen_head
FROM every
LEFT JOIN unseen_heads USING (protocol, method)
LEFT JOIN metric_definitions USING (metric)
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY
    protocol, every.source, backbone, shots_order(shots), method, variant, together, NOT is_source,
    target = 'AVERAGE', target, cell_id;
