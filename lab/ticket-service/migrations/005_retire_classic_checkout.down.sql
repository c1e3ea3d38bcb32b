DROP TRIGGER refuse_classic_checkout ON purchases;
DROP FUNCTION refuse_classic_checkout();
