module github.com/cpnp-dev/cpnp-operator/test/gitops

go 1.26.0

require (
	github.com/fluxcd/cli-utils v1.3.0 // indirect
	github.com/yuin/gopher-lua v1.1.2 // indirect
	go.yaml.in/yaml/v2 v2.4.4 // indirect
	sigs.k8s.io/yaml v1.6.0 // indirect
)
