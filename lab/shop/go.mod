module rollback-operator/lab/shop

go 1.24
