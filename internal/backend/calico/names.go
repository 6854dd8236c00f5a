// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// TierName is the tier of all policies of the operator.
const TierName = "cpnp"

// Labels of rendered objects, beside the labels of the API.
const (
	// LabelEnforced is on the host endpoints of a node where the ruleset denies traffic.
	// The label alone enforces a ruleset on a node, and removing the label rolls the node
	// back.
	LabelEnforced = "cpnp.dev/enforced"
	// LabelVersion is on host endpoints and policies: the version of the ruleset.
	// Policies of two versions can exist side by side. The policies whose version is on
	// a node's endpoints apply to the node, and one write changes the version.
	LabelVersion = "cpnp.dev/version"
	// LabelPeer is on a network set: the name of the set.
	LabelPeer = "cpnp.dev/peer"
	// LabelInterface is on a host endpoint for a single interface.
	LabelInterface = "cpnp.dev/interface"
)

// Orders within the tier: allowing policies come before denying policies.
const (
	tierOrder     = 500 // before kube-admin (1000) and default (1000000)
	selfOrder     = 10
	requiredOrder = 20
	allowOrder    = 100
	listedOrder   = 200
	denyOrder     = 1000
)

// PolicyName returns the name of a part of a policy, without the version that most
// names end with. Up to Calico v3.31, the name must begin with the name of the tier.
func PolicyName(policy, part string) string {
	return TierName + "." + strings.ToLower(policy+"-"+part)
}

// SetName returns the name of a network set, without the number of its shard.
func SetName(policy, set string) string { return "cpnp-" + policy + "-" + set }

// setNamePattern and policyNamePattern match the rest of the name of a managed object,
// after the name of the policy.
var (
	setNamePattern = regexp.MustCompile(`^(` + strings.Join([]string{
		backend.SetControlPlane, backend.SetNodes, backend.SetPods, backend.SetAPIServers,
	}, "|") + `)-[0-9]+$`)
	policyNamePattern = regexp.MustCompile(`^(self[0-9]*|((required|listed)[0-9]*|(allow|loop|deny|detour)[0-9]*-[a-z0-9-]+)-[0-9a-f]{8})$`)
)

// HasNameFor says whether a Calico policy or network set has a name that the operator
// gives to objects of the policy. The same name may belong to another policy with a
// longer name. For a host endpoint the answer is always no, because the name of an
// endpoint does not show the policy.
func HasNameFor(object backend.Object, policy string) bool {
	switch object.(type) {
	case *v3.GlobalNetworkSet:
		rest, is := strings.CutPrefix(object.GetName(), SetName(policy, ""))
		return is && setNamePattern.MatchString(rest)
	case *v3.GlobalNetworkPolicy:
		rest, is := strings.CutPrefix(object.GetName(), PolicyName(policy, ""))
		return is && policyNamePattern.MatchString(rest)
	}
	return false
}

// IsManagedEndpoint says whether a host endpoint is managed by the operator, judged by
// its name, because a label can be removed.
func IsManagedEndpoint(endpoint *v3.HostEndpoint) bool {
	return strings.HasPrefix(endpoint.Name, EndpointName(endpoint.Spec.Node, ""))
}

// maxNodePart is how many characters of a node's name fit into the name of an endpoint,
// beside "cpnp-", a hyphen, and the 15 characters of an interface's name.
const maxNodePart = validation.DNS1123SubdomainMaxLength - 21

// EndpointName returns the name of the host endpoint of a node. A long node name is
// shortened and gets a hash. An interface name such as Eth_1, invalid in the name of an
// object, is replaced by a hash. Different interfaces so have different names.
func EndpointName(node, iface string) string {
	node = wording.ShortenName(node, maxNodePart)
	if iface == "" {
		return "cpnp-" + node
	}
	if len(validation.IsDNS1123Label(iface)) > 0 {
		// Linux allows interface names that Kubernetes does not allow for objects.
		hash := fnv.New32a()
		_, _ = hash.Write([]byte(iface)) // never fails
		iface = fmt.Sprintf("%08x", hash.Sum32())
	}
	return fmt.Sprintf("cpnp-%s-%s", node, iface)
}

// FelixConfigurationDefault is the name of the Felix configuration for all nodes. A
// node's own Felix configuration takes precedence, field by field.
const FelixConfigurationDefault = "default"

// FelixConfigurationName returns the name of the Felix configuration of a node, which
// every version of Calico reads.
func FelixConfigurationName(node string) string { return perNodePrefix + node }

// perNodePrefix begins the names of the Felix configurations of nodes.
const perNodePrefix = "node."

// CanScopeFailsafes says whether a node can have a Felix configuration of its own: the
// node's name must be short enough for the name of the Felix configuration.
func CanScopeFailsafes(node string) bool {
	return len(FelixConfigurationName(node)) <= validation.DNS1123SubdomainMaxLength
}

// NodeOfFelixConfiguration returns the node to which a Felix configuration of the name
// applies; empty if the configuration is not for a single node.
func NodeOfFelixConfiguration(name string) string {
	node, is := strings.CutPrefix(name, perNodePrefix)
	if !is {
		return ""
	}
	return node
}

func policyLabels(policy string) map[string]string {
	return map[string]string{v1alpha1.LabelPolicy: policy}
}

// notNamespaced excludes objects in namespaces: otherwise, any user with the right to label
// a pod, or to create a network set, in a namespace could join an allow-list.
const notNamespaced = "!has(projectcalico.org/namespace)"

// managedSelector selects the host endpoints of the policy.
func managedSelector(policy string) string {
	return fmt.Sprintf("%s == '%s' && %s", v1alpha1.LabelPolicy, policy, notNamespaced)
}

// rulesetSelector selects the policy's host endpoints with a version of the ruleset.
func rulesetSelector(version, policy string) string {
	return fmt.Sprintf("%s && %s == '%s'", managedSelector(policy), LabelVersion, version)
}

func interfaceSelector(selector, iface string) string {
	if iface == "" {
		return selector
	}
	return fmt.Sprintf("%s && %s == '%s'", selector, LabelInterface, iface)
}

func enforcedSelector(selector string) string {
	return fmt.Sprintf("%s && %s == 'true'", selector, LabelEnforced)
}

// setSelector selects the network sets of a name.
func setSelector(policy, set string) string {
	return fmt.Sprintf("%s && %s == '%s'", managedSelector(policy), LabelPeer, set)
}
