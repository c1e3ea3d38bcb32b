module rollback-operator/lab/compose-v2

go 1.24
