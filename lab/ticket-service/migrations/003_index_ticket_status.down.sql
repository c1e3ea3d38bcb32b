DROP INDEX tickets_invalid;
