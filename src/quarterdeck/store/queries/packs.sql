-- name: project_pack
-- pack.kept. The newest pack that leads to a commit leads there: what it builds on is nearest to what is there now.
INSERT INTO packs (commit_sha, onto, blob, bytes, at) VALUES (:commit, :onto, :blob, :bytes, :at)
ON CONFLICT (commit_sha) DO UPDATE SET onto = excluded.onto, blob = excluded.blob, bytes = excluded.bytes,
    at = excluded.at;

-- name: project_snapshot
-- workspace.kept
INSERT INTO snapshots (workspace, base, commit_sha, tree, blob, at) VALUES (:workspace, :base, :commit, :tree, :blob, :at)
ON CONFLICT (workspace) DO UPDATE SET base = excluded.base, commit_sha = excluded.commit_sha, tree = excluded.tree,
    blob = excluded.blob, at = excluded.at;

-- name: project_clear_packs
-- Before a rebuild.
DELETE FROM packs;

-- name: project_clear_snapshots
-- Before a rebuild.
DELETE FROM snapshots;

-- name: pack_of
-- The pack that leads to a commit.
SELECT onto, blob FROM packs WHERE commit_sha = :commit;

-- name: snapshot_of
-- What a workspace held when that was last kept.
SELECT base, commit_sha, tree, blob FROM snapshots WHERE workspace = :workspace;
