-- Published numbers that disagree: `between sources`, where sources give the same method, backbone,
-- protocol, data set, shots and split numbers that are further apart than they are rounded; and
-- `harmonic mean` and `average`, where what is printed does not follow from what the same source
-- prints beside it (published.py). A method has the name it has here; one that is not here its
-- published name, without what a source adds to it in brackets. `said` has every number with its
-- label and source, as a run again is another experiment than a row that was copied.
CREATE VIEW reference_conflicts AS
WITH named AS (
    SELECT
        results.*, names.note AS about,
        coalesce(names.ours, without_additions(results.method)) AS name
    FROM reference_results AS results
    LEFT JOIN reference_names AS names
        ON names.kind = 'method' AND names.published = results.method
    WHERE metric IN ('accuracy', 'harmonic_mean')
),
conflicts AS (
    SELECT
        'between sources' AS kind, name AS method, backbone, protocol, dataset, shots, split, metric,
        min(value) AS least, max(value) AS greatest, count(DISTINCT source) AS sources,
        string_agg(
            printf('%.4f %s (%s)', value, method, source), '; ' ORDER BY value, method, source
        ) AS said,
        string_agg(DISTINCT about, '; ' ORDER BY about) AS note
    FROM named
    GROUP BY name, backbone, protocol, dataset, shots, split, metric
    HAVING count(DISTINCT source) > 1 AND max(value) - min(value) > 0.0006
    UNION ALL BY NAME
    SELECT
        CASE metric WHEN 'harmonic_mean' THEN 'harmonic mean' ELSE 'average' END AS kind,
        name AS method, backbone, protocol, dataset, shots, split, metric,
        least(value, derived) AS least, greatest(value, derived) AS greatest, 1 AS sources,
        printf('%.4f %s (%s)', value, method, source) AS said, note
    FROM named
    WHERE NOT consistent
)
SELECT
    kind, method, backbone, protocol, dataset, shots, split, metric, least, greatest,
    greatest - least AS spread, sources, said, note
FROM conflicts
ORDER BY kind, spread DESC, method, backbone, protocol, dataset, shots, split, metric;
