// SPDX-License-Identifier: Apache-2.0

package profile_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

const documentation = "../../docs/profiles.md"

func TestTheDocumentationListsEveryFlow(t *testing.T) {
	g := NewWithT(t)
	got := document(load(t))
	if *update {
		g.Expect(os.WriteFile(documentation, []byte(got), 0o644)).To(Succeed())
	}
	want, err := os.ReadFile(documentation)
	g.Expect(err).NotTo(HaveOccurred())
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/profiles.md is stale: run the test with -update (-want +got):\n%s", diff)
	}
}

const introduction = `<!-- Generated from internal/profile/data by "go test ./internal/profile -update": edit the data, not this page. -->

# Which flows the control plane needs

Before a policy can restrict a control plane, somebody has to know which flows it needs. These are the built-in matrices: the flows of every cluster, and the flows that each distribution, CNI and add-on adds. The profile of a cluster combines them; a later matrix replaces flows and components of the same name in an earlier one.

The matrices are data, in ` + "`internal/profile/data`" + `, each file with a version, and each flow with its source. To correct a flow, edit the file, raise its version, and name the source.

**Required** flows are allowed whatever a policy declares: to cut one would lock somebody out. The other flows are allowed under ` + "`unlisted: Deny`" + `. The answers of a flow need no flow of their own.

The tables have the usual ports of components. The port of the API server is always read from the cluster. If a cluster differs, a policy declares the difference:

` + "```yaml" + `
apiVersion: cpnp.dev/v1alpha1
kind: ControlPlaneNetworkPolicy
metadata: {name: control-plane}
spec:
  nodeSelector: {matchExpressions: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]}
  profile:
    apiServerPorts: [8443]                 # further ones, such as a load balancer's on the same nodes
    nodePorts: {first: 20000, last: 20999}
    components:                            # ports, by the names below
    - name: kube-proxy
      ports: [{protocol: TCP, port: 20256}]
    flows:                                 # further ones, between the roles below
    - {name: through-the-balancer, from: [Nodes], to: LoadBalancer, traffic: [tcp/8443], need: Required}
    - {name: vrrp, from: [ControlPlane], to: ControlPlane, destinations: [224.0.0.18/32], traffic: [ip/112]}
  network:
    peers:
    - {name: admins, role: Admin, cidrs: [10.9.0.0/16]}
    - {name: balancer, role: LoadBalancer, cidrs: [192.0.2.100/32]}
    components:
    - {name: etcd, allowFrom: [{role: ControlPlane}]}
` + "```" + `

The declared ports of a component are restricted. Required flows may use the usual ports as well, so that a wrong port in the policy does not cut a program on its usual port. Declared flows are allowed before components are restricted; ` + "`Verified`" + ` has a note about a flow that allows more senders at a component's ports than the component does.

A sender without a role is a peer: declare a component with the ports that the peer may reach.

| Role | Addresses |
|---|---|
| ControlPlane | the nodes of the control plane, protected or not: all their addresses, and those from which they reach pods through an overlay network |
| Nodes | every node, in the same way |
| Pods | every pod that has an address of its own |
| Self | the node itself: loopback and its own addresses |
| Admin | administrators of the cluster; only a policy can name them |
| LoadBalancer | load balancers that replace the addresses of their clients, and virtual addresses of the control plane; only a policy can name them |
| Prometheus | a monitoring system outside the cluster; only a policy can name it |
| Any | every address; a flow to Any leaves the node, and opens nothing on it |

`

// document returns docs/profiles.md.
func document(library profile.Library) string {
	var out strings.Builder
	out.WriteString(introduction)
	out.WriteString("## What is not known for sure\n\nCheck these in your cluster before you deny what is not listed.\n\n| Profile | Flow | What to check |\n|---|---|---|\n")
	for _, layer := range library.Layers() {
		for _, flow := range layer.Flows {
			if flow.Unsure {
				fmt.Fprintf(&out, "| %s | %s | %s |\n", layer.Title, flow.Name, flow.Note)
			}
		}
	}
	writePlugins(&out, library)
	for _, layer := range library.Layers() {
		writeLayer(&out, layer)
	}
	return out.String()
}

const pods = `
## NetworkPolicies and the addresses of pods

Kubernetes NetworkPolicies protect a component with ` + "`pods`" + `, with or without a profile of the distribution, and whatever the flows between nodes are. Their effect depends on the CNI and its companions. The operator reads it from the DaemonSets in ` + "`kube-system`" + ` and in the CNI's own namespaces, and for Cilium from the ConfigMap ` + "`kube-system/cilium-config`" + `.

If nothing enforces NetworkPolicies, ` + "`Effective`" + ` is False (` + "`NetworkPolicyNotEnforced`" + `); if this is not known, ` + "`Effective`" + ` is Unknown (` + "`NotJudged`" + `). A policy can declare it: ` + "`spec: {profile: {networkPolicies: Enforced}}`, or `NotEnforced`" + `.

The roles ` + "`ControlPlane`" + ` and ` + "`Nodes`" + ` are rendered as ipBlocks, and so are peers. If the CNI does not match nodes by ipBlock, a component that allows nodes or API servers is not written (` + "`NetworkPolicyNotEnforced`" + `). Ports are always rendered as numbers.

On nodes, the role ` + "`Pods`" + ` is the networks from which pods get addresses. ` + "`spec.podCIDRs`" + ` of Nodes count only if the CNI uses them. If the networks are not known, the policy is held (` + "`AddressesUnknown`" + `) until a peer has the role: ` + "`spec: {network: {peers: [{name: pods, role: Pods, cidrs: [10.0.0.0/16]}]}}`" + `, with your networks.

| | NetworkPolicies are enforced | An ipBlock selects nodes | and pods | Named ports | endPort | Pods' addresses | What else to know | Sources |
|---|---|---|---|---|---|---|---|---|
`

// support are the words of the table.
var support = map[profile.Support]string{profile.Always: "yes", profile.Never: "no", profile.Depends: "depends", profile.NotKnown: "not known"}

var addresses = map[profile.Addressing]string{
	profile.FromPodCIDRs: "of `spec.podCIDRs` of the nodes", profile.FromIPPools: "of Calico's IPPools",
	profile.FromNodeNetwork: "of the nodes' network: give a peer the role `Pods`", profile.FromElsewhere: "of elsewhere",
}

func writePlugins(out *strings.Builder, library profile.Library) {
	out.WriteString(pods)
	for _, layer := range library.Plugins() {
		does := layer.NetworkPolicies
		var sources []string
		for _, key := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(does.Sources, layer.PodNetworks.Sources)))) {
			sources = append(sources, link(layer.Sources[key]))
		}
		notes := strings.Join(strings.Fields(does.Depends+" "+does.Note+" "+layer.PodNetworks.Note), " ")
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", layer.Title, support[does.Enforced], support[does.IPBlockNodes],
			support[does.IPBlockPods], support[does.NamedPorts], support[does.EndPort], addresses[layer.PodNetworks.From], notes, strings.Join(sources, "; "))
	}
}

func writeLayer(out *strings.Builder, layer profile.Layer) {
	fmt.Fprintf(out, "\n## %s\n\n`%s`, version %d.", layer.Title, layer.Name, layer.Version)
	if layer.NotApplicable != "" {
		fmt.Fprintf(out, " Host protection does not apply: %s.", layer.NotApplicable)
	}
	if layer.Note != "" {
		fmt.Fprintf(out, " %s", layer.Note)
	}
	out.WriteString("\n")
	if len(layer.Without) > 0 {
		fmt.Fprintf(out, "\nDoes not have, of what comes before: %s.\n", strings.Join(layer.Without, ", "))
	}
	numbers := map[string]int{}
	for i, key := range slices.Sorted(maps.Keys(layer.Sources)) {
		numbers[key] = i + 1
	}
	if len(layer.Components) > 0 {
		out.WriteString("\n| Component | Ports | | Sources |\n|---|---|---|---|\n")
		for _, c := range layer.Components {
			ports := texts(c.Traffic) + only(len(c.Also) > 0, ", and "+texts(c.Also)+" besides") +
				only(len(c.Loopback) > 0, ", of these on loopback only "+texts(c.Loopback))
			fmt.Fprintf(out, "| %s | %s | %s | %s |\n", c.Name, ports, c.Note, references(c.Sources, numbers))
		}
	}
	if len(layer.Flows) > 0 {
		out.WriteString("\n| Flow | From → to | What | When, and what else to know | Sources |\n|---|---|---|---|---|\n")
		for _, f := range layer.Flows {
			fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n", f.Name, direction(f), what(f), remarks(f), references(f.Sources, numbers))
		}
	}
	if len(layer.Closed) > 0 {
		out.WriteString("\n| Must be closed | What | | Sources |\n|---|---|---|---|\n")
		for _, c := range layer.Closed {
			fmt.Fprintf(out, "| %s | %s | %s | %s |\n", c.Name, texts(c.Traffic), c.Note, references(c.Sources, numbers))
		}
	}
	if len(numbers) > 0 {
		out.WriteString("\nSources:\n\n")
	}
	for _, key := range slices.Sorted(maps.Keys(layer.Sources)) {
		fmt.Fprintf(out, "%d. %s\n", numbers[key], link(layer.Sources[key]))
	}
}

func direction(f profile.Flow) string {
	from := make([]string, 0, len(f.From))
	for _, role := range f.From {
		from = append(from, string(role))
	}
	text := strings.Join(from, ", ") + " → " + string(f.To)
	if len(f.Destinations) > 0 {
		text += ", sent to " + strings.Trim(list(f.Destinations), "[]")
	}
	return text
}

func what(f profile.Flow) string {
	if f.Component != "" {
		return "ports of " + f.Component
	}
	return texts(f.Traffic)
}

func texts(traffic []profile.Traffic) string { return strings.Trim(list(traffic), "[]") }

func remarks(f profile.Flow) string {
	var parts []string
	if f.Required {
		parts = append(parts, "**Required.**")
	}
	if f.Unsure {
		parts = append(parts, "**Unsure.**")
	}
	if f.When != "" {
		parts = append(parts, "When "+f.When+".")
	}
	if f.Note != "" {
		parts = append(parts, f.Note)
	}
	return strings.Join(parts, " ")
}

func references(keys []string, numbers map[string]int) string {
	var sorted []int
	for _, key := range keys {
		sorted = append(sorted, numbers[key])
	}
	slices.Sort(sorted)
	return strings.Trim(list(sorted), "[]")
}

// link returns a source, which is a title, mostly followed by an address.
func link(source string) string {
	if title, address, ok := strings.Cut(source, ", http"); ok {
		return fmt.Sprintf("[%s](http%s)", title, address)
	}
	return source
}
