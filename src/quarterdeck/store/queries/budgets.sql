-- name: budget_open
-- Set or raise a run's cap. Opening again with less changes nothing, so a repeated command is harmless.
INSERT INTO budgets (run, cap) VALUES (:run, :cap) ON CONFLICT (run) DO UPDATE SET cap = max(cap, excluded.cap);

-- name: budget_get
-- A run's purse, and what one holder has reserved in it (null = nothing).
SELECT b.cap, b.settled, b.reserved, r.amount FROM budgets AS b
LEFT JOIN reservations AS r ON r.run = b.run AND r.holder = :holder WHERE b.run = :run;

-- name: budget_set
-- Move a run's purse.
UPDATE budgets SET settled = :settled, reserved = :reserved WHERE run = :run;

-- name: reservation_set
-- Set money aside for one holder.
INSERT INTO reservations (run, holder, amount) VALUES (:run, :holder, :amount)
ON CONFLICT (run, holder) DO UPDATE SET amount = excluded.amount;

-- name: reservation_drop
-- The holder's money was spent or is free again.
DELETE FROM reservations WHERE run = :run AND holder = :holder;

-- name: reservations_drop
-- Nothing of the run's money is set aside any more.
DELETE FROM reservations WHERE run = :run;
