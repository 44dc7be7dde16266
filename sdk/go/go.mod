module driftwood

go 1.24
