// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// TierName is the tier of all policies of the operator.
const TierName = "cpnp"

// Labels of what is rendered, beside those of the API.
const (
	// LabelEnforced is on a host endpoint of a node on which what is denied is
	// denied. To enforce on a node, or to take it back, is this one label.
	LabelEnforced = "cpnp.dev/enforced"
	// LabelVersion is on a host endpoint, and on a policy: the version of the
	// rules. Those of two versions can be there side by side; each node has those
	// that its endpoints name, and goes from one to the other with one write.
	LabelVersion = "cpnp.dev/version"
	// LabelPeer is on a network set: the name of the set.
	LabelPeer = "cpnp.dev/peer"
	// LabelInterface is on a host endpoint that is for one interface only.
	LabelInterface = "cpnp.dev/interface"
)

// Names of the sets of addresses that follow the cluster.
const (
	SetControlPlane = "control-plane"
	SetNodes        = "nodes"
	SetPods         = "pods"
	SetAPIServers   = "api-servers"
)

// Orders within the tier. What allows comes before what denies.
const (
	tierOrder     = 500 // before kube-admin (1000) and default (1000000)
	selfOrder     = 10
	requiredOrder = 20
	allowOrder    = 100
	listedOrder   = 200
	denyOrder     = 1000
)

// PolicyName returns the name of what a policy of ours calls for, without the
// version that most end with; up to Calico v3.31 it must begin with the name of
// its tier.
func PolicyName(policy, part string) string {
	return TierName + "." + strings.ToLower(policy+"-"+part)
}

// SetName returns the name of a network set, without the number of its shard.
func SetName(policy, set string) string { return "cpnp-" + policy + "-" + set }

// setNamed and policyNamed are what follows a policy's name in the names of what it
// calls for.
var (
	setNamed    = regexp.MustCompile(`^(` + strings.Join([]string{SetControlPlane, SetNodes, SetPods, SetAPIServers}, "|") + `)-[0-9]+$`)
	policyNamed = regexp.MustCompile(`^(self[0-9]*|((required|listed)[0-9]*|(allow|loop|deny|detour)[0-9]*-[a-z0-9-]+)-[0-9a-f]{8})$`)
)

// Named says whether the name of a policy or of a network set is one that a policy
// of ours has for it. It may be one of another policy's too, whose name is longer.
// The name of a host endpoint does not tell.
func Named(object Object, policy string) bool {
	switch object.(type) {
	case *v3.GlobalNetworkSet:
		rest, is := strings.CutPrefix(object.GetName(), SetName(policy, ""))
		return is && setNamed.MatchString(rest)
	case *v3.GlobalNetworkPolicy:
		rest, is := strings.CutPrefix(object.GetName(), PolicyName(policy, ""))
		return is && policyNamed.MatchString(rest)
	}
	return false
}

// Ours says whether a host endpoint is one of the operator's. The name tells: a
// label can be taken away.
func Ours(endpoint *v3.HostEndpoint) bool {
	return strings.HasPrefix(endpoint.Name, EndpointName(endpoint.Spec.Node, ""))
}

// maxNodePart is how much of a node's name there is room for in that of an
// endpoint, beside "cpnp-", a hyphen, and the 15 characters of an interface's name.
const maxNodePart = validation.DNS1123SubdomainMaxLength - 21

// EndpointName returns the name of the host endpoint of a node, whose name is
// shortened with a hash if it is too long for that. The name of an
// interface, such as Eth_1, need not be one of an object: then a hash of it keeps
// it apart from those that would read the same.
func EndpointName(node, iface string) string {
	if len(node) > maxNodePart {
		sum := sha256.Sum256([]byte(node))
		hash := hex.EncodeToString(sum[:8])
		node = strings.TrimRight(node[:maxNodePart-1-len(hash)], ".-") + "-" + hash
	}
	if iface == "" {
		return "cpnp-" + node
	}
	if len(validation.IsDNS1123Label(iface)) > 0 {
		// Interfaces may have names that objects may not have.
		hash := fnv.New32a()
		_, _ = hash.Write([]byte(iface)) // never fails
		iface = fmt.Sprintf("%08x", hash.Sum32())
	}
	return fmt.Sprintf("cpnp-%s-%s", node, iface)
}

// FelixConfigurationDefault is the Felix configuration of all nodes, as far as
// their own does not say otherwise.
const FelixConfigurationDefault = "default"

// FelixConfigurationName returns the name of the Felix configuration of a node,
// which every version of Calico reads.
func FelixConfigurationName(node string) string { return perNode + node }

// perNode begins the names of the Felix configurations of nodes.
const perNode = "node."

// Narrowable says whether a node can have a Felix configuration of its own: its
// name must leave room for the rest of that one's.
func Narrowable(node string) bool {
	return len(FelixConfigurationName(node)) <= validation.DNS1123SubdomainMaxLength
}

// NodeOfFelixConfiguration returns the node whose Felix configuration has a name;
// empty if it is not one node's.
func NodeOfFelixConfiguration(name string) string {
	node, is := strings.CutPrefix(name, perNode)
	if !is {
		return ""
	}
	return node
}

// NodeOf returns the node that the object concerns alone; empty if there is none.
func NodeOf(object Object) string {
	switch o := object.(type) {
	case *v3.HostEndpoint:
		return o.Spec.Node
	case *v3.FelixConfiguration:
		return NodeOfFelixConfiguration(o.Name)
	}
	return ""
}

func labels(policy string) map[string]string { return map[string]string{v1alpha1.LabelPolicy: policy} }

// outside keeps away what is in a namespace: whoever may label a pod, or make a
// network set there, could otherwise join an allow-list.
const outside = "!has(projectcalico.org/namespace)"

// ours selects the policy's host endpoints.
func ours(policy string) string {
	return fmt.Sprintf("%s == '%s' && %s", v1alpha1.LabelPolicy, policy, outside)
}

// having selects the policy's host endpoints that have a version of the rules.
func having(version, policy string) string {
	return fmt.Sprintf("%s && %s == '%s'", ours(policy), LabelVersion, version)
}

func onInterface(selector, iface string) string {
	if iface == "" {
		return selector
	}
	return fmt.Sprintf("%s && %s == '%s'", selector, LabelInterface, iface)
}

func enforced(selector string) string {
	return fmt.Sprintf("%s && %s == 'true'", selector, LabelEnforced)
}

// members selects the network sets of a name.
func members(policy, set string) string {
	return fmt.Sprintf("%s && %s == '%s'", ours(policy), LabelPeer, set)
}
