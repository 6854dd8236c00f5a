module github.com/cpnp-dev/cpnp-operator/hack/site

go 1.26.0

require (
	github.com/cpnp-dev/cpnp-operator v0.0.0
	github.com/onsi/gomega v1.44.0
	github.com/yuin/goldmark v1.8.7
	golang.org/x/net v0.61.0
)

require (
	github.com/google/go-cmp v0.7.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/cpnp-dev/cpnp-operator => ../../
