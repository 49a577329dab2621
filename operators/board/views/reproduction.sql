-- Ours beside every published number of the same thing: method and data set by reference_names, a
-- backbone by the fingerprint of its weights or by the very name that the published weights have,
-- an average by the data sets in it, and a transfer by its source too, which is ImageNet there. A
-- number that needs no labelled image is the same under any protocol and any number of shots.
--
-- The interval has the error that ours may have against a published one. Over seeds it is
-- Student's; the sampling of test images comes in where they are not the published ones, or where
-- seeds say nothing. A published value inside an interval is a finding only where the interval is
-- narrow: beyond 0.04 from end to end, as far as methods lie apart in papers, it decides nothing.
CREATE VIEW reproduction AS
WITH ours AS (
    SELECT
        cell_id, seed, value, scores.n, template_set, started_at, metric, setting,
        names.published AS dataset,
        {
            method: method, backbone: backbone, fingerprint: backbone_fingerprint,
            variant: variant, setting: spec_setting, test_rows_per_class: test_rows_per_class,
            protocol: protocol, shots: shots, selection: selection, views: views,
            precision: precision
        } AS family,
        CASE WHEN protocols.tests IN ('all', 'targets') THEN 'test' ELSE split END AS split
    FROM scores
    JOIN protocols USING (protocol)
    JOIN reference_names AS names
        ON names.kind = 'dataset'
        AND names.ours = lower(CASE
            WHEN tests = 'targets' AND split <> 'all' THEN split ELSE dataset
        END)
    WHERE is_primary
        AND (
            tests <> 'targets'
            OR lower(dataset) IN (
                SELECT ours FROM reference_names WHERE kind = 'dataset' AND published = 'ImageNet'
            )
        )
),
latest AS (  -- an average takes one cell of each data set
    SELECT family, dataset, max_by(cell_id, (started_at, cell_id)) AS cell_id
    FROM ours
    GROUP BY family, dataset
),
parts AS (  -- one row a data set in an average; a data set is the average of itself
    SELECT family, cell_id AS unit, dataset AS name, 1 AS size, ours.* EXCLUDE (family)
    FROM ours
    UNION ALL BY NAME
    SELECT
        family, NULL AS unit, average AS name, ours.* EXCLUDE (family),
        (SELECT count(*) FROM reference_averages AS all_of WHERE all_of.average = averages.average)
            AS size
    FROM ours
    JOIN latest USING (family, dataset, cell_id)
    JOIN reference_averages AS averages USING (dataset)
),
seeds AS (
    SELECT
        family, unit, name, split, seed, metric, whole_mean(value) AS value,
        joint_setting(setting) AS setting,
        -- Of what is no share of test images nobody knows it.
        CASE WHEN metric IN (SELECT metric FROM metric_definitions WHERE proportion)
            THEN sum(images_variance(value, n)) / any_value(size) ** 2
        END AS variance,
        CASE any_value(size) WHEN 1 THEN any_value(n) END AS test_rows,
        bool_and(coalesce(n = test_rows, family.test_rows_per_class IS NULL)) AS same_images
    FROM parts
    LEFT JOIN reference_datasets AS known USING (dataset, split)
    GROUP BY family, unit, name, split, seed, metric
    HAVING count(DISTINCT dataset) = any_value(size)
),
lines AS (
    SELECT *, value AS base, NULL::DOUBLE AS new FROM seeds
    UNION ALL BY NAME
    SELECT
        family, b.unit, name, 'HM' AS split, seed, b.value AS base, c.value AS new,
        'harmonic_mean' AS metric, b.setting, b.same_images AND c.same_images AS same_images,
        harmonic(b.value, c.value) AS value,
        CASE WHEN b.value + c.value > 0 THEN
            (2 * c.value ** 2 / (b.value + c.value) ** 2) ** 2 * b.variance
            + (2 * b.value ** 2 / (b.value + c.value) ** 2) ** 2 * c.variance
        END AS variance
    FROM seeds AS b
    JOIN seeds AS c USING (family, name, seed)
    WHERE b.metric = 'accuracy' AND c.metric = 'accuracy'
        AND b.split = 'base' AND c.split = 'new' AND b.unit IS NOT DISTINCT FROM c.unit
),
means AS (
    SELECT
        family, unit, name, split, metric, count(*) AS n, stddev_samp(value ORDER BY value) AS std,
        joint_setting(setting) AS setting,
        avg(variance ORDER BY variance) AS variance, bool_and(same_images) AS same_images,
        min(test_rows) AS test_rows,
        -- The papers' convention: of the averaged base and new.
        CASE metric WHEN 'harmonic_mean' THEN harmonic(avg(base ORDER BY base), avg(new ORDER BY new))
            ELSE avg(base ORDER BY base) END
            AS mean
    FROM lines
    GROUP BY family, unit, name, split, metric
),
intervals AS (
    SELECT
        *,
        CASE
            -- One draw says nothing of the next; a method without draws has none.
            WHEN n = 1 AND family.shots <> 0 THEN NULL
            ELSE sqrt(
                coalesce(seeds_half(std, n, t), 0) ** 2
                + CASE WHEN same_images AND seeds_half(std, n, t) IS NOT NULL
                    THEN 0 ELSE 1.959963984540054 ** 2 * variance END
            )
        END AS half
    FROM means
    LEFT JOIN t_values ON df = least(n - 1, 200)
),
known AS (  -- which backbone of the papers ours is, and how that is known
    SELECT
        family.backbone AS backbone, family.fingerprint AS fingerprint,
        coalesce(weights.published, names.published) AS published,
        CASE WHEN weights.published IS NULL THEN 'name' ELSE 'fingerprint' END AS known_by
    FROM (SELECT DISTINCT family FROM ours)
    LEFT JOIN reference_names AS weights
        ON weights.kind = 'fingerprint' AND weights.ours = family.fingerprint
    LEFT JOIN reference_names AS names
        ON names.kind = 'backbone' AND names.ours = family.backbone
    WHERE coalesce(weights.published, names.published) IS NOT NULL
    GROUP BY ALL
),
published AS (
    SELECT
        results.*, names.ours, names.note AS about,
        CASE WHEN results.split = 'HM' OR results.split IN
            (SELECT unnest(string_split(tests, ' and ')) FROM protocols)
        THEN results.split ELSE 'test' END AS ground,
        CASE results.protocol WHEN 'cross_dataset_test_time' THEN 'cross_dataset'
            ELSE results.protocol END AS way,
        spreads.value AS std
    FROM reference_results AS results
    JOIN reference_names AS names ON names.kind = 'method' AND names.published = results.method
    LEFT JOIN reference_results AS spreads
        ON spreads.metric = 'accuracy_std' AND results.metric = 'accuracy'
        AND spreads.method = results.method AND spreads.backbone = results.backbone
        AND spreads.protocol = results.protocol AND spreads.dataset = results.dataset
        AND spreads.shots = results.shots AND spreads.split = results.split
        AND spreads.source = results.source
    WHERE names.ours IS NOT NULL
        AND (results.metric = 'harmonic_mean'
            OR results.metric IN (SELECT primary_metric FROM protocols))
),
prompts AS (  -- whether the prompts are those that were published, for each line and method
    SELECT unit, family, name, split, method, bool_and(agree) AS agree
    FROM (
        SELECT
            unit, family, name, parts.split, dataset, said.method,
            bool_or(said.template_set = split_part(parts.template_set, '+', 1)) AS agree
        FROM parts
        JOIN reference_templates AS said USING (dataset)
        JOIN reference_names AS names
            ON names.kind = 'method' AND names.published = said.method
            AND names.ours = family.method
        GROUP BY ALL
    )
    GROUP BY ALL
),
matched AS (
    SELECT
        line.*, published.value AS published, published.method AS published_method,
        published.split AS published_split, published.protocol AS published_protocol,
        published.source, published.std AS published_std, known.known_by,
        concat_ws('; ', published.about, published.note) AS notes,
        CASE WHEN half IS NOT NULL THEN greatest(0, mean - half) END AS low,
        CASE WHEN half IS NOT NULL THEN least(1, mean + half) END AS high,
        min(published.value) OVER cell AS published_min,
        median(published.value) OVER cell AS published_median,
        max(published.value) OVER cell AS published_max,
        count(DISTINCT published.source) OVER cell AS sources
    FROM intervals AS line
    JOIN known
        ON known.backbone = line.family.backbone AND known.fingerprint = line.family.fingerprint
    JOIN published
        ON published.ours = line.family.method AND published.backbone = known.published
        AND published.dataset = line.name AND published.ground = line.split
        AND published.metric = line.metric
        AND CASE
            WHEN line.family.shots <> 0
                THEN published.shots = line.family.shots AND published.way = line.family.protocol
            ELSE (published.way = 'base_to_new') = (line.family.protocol = 'base_to_new')
                -- What is learned without a label needs labels in what was published.
                AND line.family.protocol NOT IN
                    (SELECT protocol FROM protocols WHERE unlabelled IS NOT NULL)
        END
    WINDOW cell AS (PARTITION BY line.family, line.unit, line.name, line.split)
),
judged AS (
    SELECT
        matched.*, prompts.agree,
        CASE
            WHEN half IS NULL THEN 'too wide to decide'
            WHEN published NOT BETWEEN low AND high THEN 'outside'
            WHEN 2 * half > 0.04 THEN 'too wide to decide'
            ELSE 'within'
        END AS verdict
    FROM matched
    LEFT JOIN prompts
        ON prompts.family = matched.family AND prompts.unit IS NOT DISTINCT FROM matched.unit
        AND prompts.name = matched.name AND prompts.method = published_method
        AND prompts.split = CASE matched.split WHEN 'HM' THEN 'base' ELSE matched.split END
)
SELECT
    family.method AS method, published_protocol AS protocol, lower(name) AS dataset,
    family.shots AS shots, family.backbone AS backbone, published_split AS split, metric, mean, n,
    low AS ci95_low, high AS ci95_high, published, mean - published AS difference,
    CASE verdict WHEN 'within' THEN true WHEN 'outside' THEN false END AS within_ci95,
    published_method, source, family.variant AS variant, setting,
    family.test_rows_per_class AS test_rows_per_class, unit AS cell_id, verdict,
    published_min, published_median, published_max, sources, published_std,
    agree AS templates_agree, known_by AS backbone_known_by, test_rows, same_images,
    family.precision AS precision, nullif(notes, '') AS note,
    low - published AS difference_ci95_low, high - published AS difference_ci95_high
FROM judged
ORDER BY
    protocol, dataset, shots_order(shots), backbone, split, method, variant, published_method,
    source, unit;
