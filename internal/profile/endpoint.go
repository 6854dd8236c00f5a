// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// Endpoint is an address at which members of a cluster reach the API servers.
type Endpoint struct {
	// Host is an IP address or a host name.
	Host string
	Port uint16
	// Shown says what shows the endpoint, as the beginning of a sentence.
	Shown string
}

// ParseAddress returns the endpoint's IP address, and whether the endpoint has one. A
// host name counts as no address, because the name can resolve to another address at
// any time.
func (e Endpoint) ParseAddress() (netip.Addr, bool) {
	address, err := netip.ParseAddr(e.Host)
	return address.Unmap(), err == nil
}

func (e Endpoint) String() string {
	if strings.Contains(e.Host, ":") {
		return fmt.Sprintf("[%s]:%d", e.Host, e.Port)
	}
	return fmt.Sprintf("%s:%d", e.Host, e.Port)
}

// APIServerEndpoints returns the addresses at which members of the cluster reach the API
// servers, as far as the cluster shows such addresses, sorted. Only the owner of the
// control plane can write the sources: ConfigMaps of kube-system and kube-public, and the
// Node objects of control-plane nodes.
func APIServerEndpoints(facts Facts) []Endpoint {
	found := slices.Concat(
		kubeadmEndpoint(facts.ConfigMaps[kubeadmConfig]["ClusterConfiguration"]),
		clusterInfoEndpoints(facts.ConfigMaps[clusterInfo]["kubeconfig"]),
		openshiftEndpoints(facts.ConfigMaps[openshiftInstall]["install-config"]),
	)
	for _, node := range facts.Nodes {
		if node.isControlPlane() {
			found = append(found, nodeEndpoints(node)...)
		}
	}
	// A loopback address is a proxy on the node, such as KubePrism of Talos, and does not
	// show the address at which packets arrive.
	found = slices.DeleteFunc(found, func(e Endpoint) bool {
		address, is := e.ParseAddress()
		return e.Host == "localhost" || is && (address.IsLoopback() || address.IsUnspecified())
	})
	slices.SortStableFunc(found, func(a, b Endpoint) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port)) })
	return slices.CompactFunc(found, func(a, b Endpoint) bool { return a.Host == b.Host && a.Port == b.Port })
}

// apiServerPort is the port of API servers if an endpoint has no port: kubeadm's
// default (cmd/kubeadm/app/apis/kubeadm/v1beta4, DefaultAPIBindPort).
const apiServerPort = 6443

// kubeadmEndpoint returns the controlPlaneEndpoint of kubeadm's ClusterConfiguration:
// "host" or "host:port".
func kubeadmEndpoint(text string) []Endpoint {
	var configuration struct {
		ControlPlaneEndpoint string `json:"controlPlaneEndpoint"`
	}
	if yaml.Unmarshal([]byte(text), &configuration) != nil || configuration.ControlPlaneEndpoint == "" {
		return nil
	}
	return endpointAt("https://"+configuration.ControlPlaneEndpoint, apiServerPort,
		"controlPlaneEndpoint of the ConfigMap kube-system/kubeadm-config")
}

// clusterInfoEndpoints returns the servers of the kubeconfig for machines that join.
func clusterInfoEndpoints(text string) []Endpoint {
	var kubeconfig struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
			} `json:"cluster"`
		} `json:"clusters"`
	}
	if yaml.Unmarshal([]byte(text), &kubeconfig) != nil {
		return nil
	}
	var found []Endpoint
	for _, c := range kubeconfig.Clusters {
		found = append(found, endpointAt(c.Cluster.Server, httpsPort, "server of the ConfigMap kube-public/cluster-info")...)
	}
	return found
}

// httpsPort is the port of a URL without a port.
const httpsPort = 443

// openshiftEndpoints returns the virtual addresses and the host name at which nodes of
// OpenShift reach the API servers (api-int, required by every installation).
func openshiftEndpoints(text string) []Endpoint {
	type virtual struct {
		APIVIP  string   `json:"apiVIP"`
		APIVIPs []string `json:"apiVIPs"`
	}
	var config struct {
		BaseDomain string `json:"baseDomain"`
		Metadata   struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Platform map[string]json.RawMessage `json:"platform"`
	}
	if yaml.Unmarshal([]byte(text), &config) != nil || config.BaseDomain == "" {
		return nil
	}
	const shown = "the ConfigMap kube-system/cluster-config-v1"
	found := []Endpoint{{Host: "api-int." + config.Metadata.Name + "." + config.BaseDomain, Port: apiServerPort, Shown: shown}}
	for _, platform := range config.Platform {
		var v virtual
		if json.Unmarshal(platform, &v) != nil {
			continue
		}
		for _, address := range append(v.APIVIPs, v.APIVIP) {
			if address != "" {
				found = append(found, Endpoint{Host: address, Port: apiServerPort, Shown: shown})
			}
		}
	}
	return found
}

// Annotations that show how a node reaches the API servers: k3s and RKE2 record the
// arguments of the program (k3s, pkg/nodeconfig), as a list in JSON.
const (
	K3sArguments  = "k3s.io/node-args"
	rke2Arguments = "rke2.io/node-args"
)

// kubeVIPLabel is set by kube-vip on the node that holds a virtual address. The value
// is the address (kube-vip, pkg/node).
const kubeVIPLabel = "kube-vip.io/has-ip"

// EndpointAnnotations returns the annotations of nodes whose values APIServerEndpoints
// reads.
func EndpointAnnotations() []string { return []string{K3sArguments, rke2Arguments} }

func nodeEndpoints(node Node) []Endpoint {
	var found []Endpoint
	for key, port := range map[string]uint16{K3sArguments: apiServerPort, rke2Arguments: rke2SupervisorPort} {
		var arguments []string
		if json.Unmarshal([]byte(node.Values[key]), &arguments) != nil {
			continue
		}
		shown := fmt.Sprintf("the annotation %s of node %s", key, node.Name)
		for i, argument := range arguments {
			value, is := strings.CutPrefix(argument, "--server=")
			if argument == "--server" && i+1 < len(arguments) {
				value, is = arguments[i+1], true
			}
			if is {
				found = append(found, endpointAt(value, port, shown)...)
			}
		}
	}
	if address, err := netip.ParseAddr(node.Labels[kubeVIPLabel]); err == nil {
		found = append(found, Endpoint{
			Host: address.String(), Port: apiServerPort, Shown: fmt.Sprintf("the label %s of node %s", kubeVIPLabel, node.Name),
		})
	}
	return found
}

// rke2SupervisorPort is the port at which nodes of RKE2 join (RKE2, Requirements).
const rke2SupervisorPort = 9345

// endpointAt returns the endpoint of a URL, or none if the URL cannot be parsed.
func endpointAt(text string, port uint16, shown string) []Endpoint {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Hostname() == "" {
		return nil
	}
	if named, err := strconv.ParseUint(parsed.Port(), 10, 16); err == nil {
		port = uint16(named)
	}
	return []Endpoint{{Host: strings.ToLower(parsed.Hostname()), Port: port, Shown: shown}}
}
