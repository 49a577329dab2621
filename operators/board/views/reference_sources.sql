-- Which source disagrees with which: every two sources that print numbers of one method, in how many
-- cells they do, in how many they differ by more than rounding, and by how much (a minus b). A label
-- says whether a row was copied or run again.
CREATE VIEW reference_sources AS
WITH named AS (
    SELECT
        results.*,
        coalesce(names.ours, without_additions(results.method)) AS name
    FROM reference_results AS results
    LEFT JOIN reference_names AS names
        ON names.kind = 'method' AND names.published = results.method
    WHERE metric IN ('accuracy', 'harmonic_mean')
)
SELECT
    a.name AS method, a.source AS source_a, a.method AS label_a, b.source AS source_b,
    b.method AS label_b, count(*) AS cells,
    count(*) FILTER (abs(a.value - b.value) > 0.0006) AS differ,
    avg(a.value - b.value) AS mean_difference, max(abs(a.value - b.value)) AS largest,
    arg_max(a.dataset || ' ' || a.split, abs(a.value - b.value)) AS largest_at
FROM named AS a
JOIN named AS b USING (name, backbone, protocol, dataset, shots, split, metric)
WHERE a.source < b.source
GROUP BY a.name, a.source, a.method, b.source, b.method
ORDER BY largest DESC, method, source_a, label_a, source_b, label_b;
