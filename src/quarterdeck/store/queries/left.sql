-- name: left_reservations
-- Money that is still set aside: asked from outside, once nothing runs any more.
SELECT holder, amount FROM held;

-- name: left_reserved
-- Purses that still count something as set aside.
SELECT purse, reserved FROM purses WHERE reserved <> 0;

-- name: left_jobs
-- Jobs that are still in the queue. One that was killed so often that it was taken for the killer stays there on record;
-- its work was begun again under another row.
SELECT kind, key, status FROM jobs WHERE NOT (status = 'failed' AND deaths >= :poison);
