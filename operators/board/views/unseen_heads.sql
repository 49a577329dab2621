-- Methods of which another head answers for classes that were not learned, by the protocols that
-- ask for such classes. `learned_split` is the split of the learned ones; all others are of new.
CREATE VIEW unseen_heads AS
SELECT
    protocol, methods.method,
    CASE tests WHEN 'base and new' THEN 'base' ELSE 'all' END AS learned_split,
    methods.card ->> 'unseen_head' AS unseen_head
FROM protocols
CROSS JOIN methods  -- one of another track may serve in a protocol as it is
WHERE new_classes AND coalesce(methods.card ->> 'unseen_head', '') <> '';
