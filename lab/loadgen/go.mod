module rollback-operator/lab/loadgen

go 1.24
