// SPDX-License-Identifier: Apache-2.0

package calico

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/utils/ptr"
)

// The API as CRDs exists from v3.32 on. The ones here are made from the files of
// v3.31, which say less: what follows is what later ones (api/pkg/apis/projectcalico/v3)
// say of the kinds that the operator writes. Calico's storage, and its API server of
// v3.31, know nothing of it, and that server would not look: what a server-side apply
// merges, it takes from schemas of its own.

// asLater makes a kind as later versions of Calico have it: which lists are sets, and
// what is checked (v3.32); and how much of everything there may be (v3.33).
func asLater(kind *apiextensionsv1.CustomResourceDefinition) {
	change := laterKinds[kind.Spec.Names.Kind]
	for i := range kind.Spec.Versions {
		if schema := kind.Spec.Versions[i].Schema; schema != nil && change != nil {
			change(schema.OpenAPIV3Schema)
		}
	}
}

type schema = apiextensionsv1.JSONSchemaProps

var laterKinds = map[string]func(*schema){
	"GlobalNetworkSet": func(s *schema) {
		within(s, []string{"spec", "nets"}, sized(0, 100_000), set)
	},
	"HostEndpoint": func(s *schema) {
		within(s, []string{"spec", "expectedIPs"}, set)
		within(s, []string{"spec", "profiles"}, set)
		within(s, []string{"spec"}, valid("has(self.node) && size(self.node) > 0", "node must be specified"),
			valid("(has(self.interfaceName) && size(self.interfaceName) > 0) || (has(self.expectedIPs) && size(self.expectedIPs) > 0)",
				"at least one of interfaceName or expectedIPs must be specified"))
	},
	"GlobalNetworkPolicy": func(s *schema) {
		within(s, []string{"spec", "types"}, sized(1, 2), set)
		within(s, []string{"spec", "selector"}, short)
		for _, rules := range []string{"ingress", "egress"} {
			within(s, []string{"spec", rules}, sized(0, 1024), items(laterRule))
		}
	},
	"Tier": func(s *schema) {
		for _, tier := range [][2]string{{"default", "Deny"}, {"kube-admin", "Pass"}, {"kube-baseline", "Pass"}} {
			name, action := tier[0], tier[1]
			valid("self.metadata.name != '"+name+"' || has(self.spec.defaultAction) && self.spec.defaultAction == '"+action+"'",
				"The '"+name+"' tier must have default action '"+action+"'")(s)
		}
	},
}

func laterRule(rule *schema) {
	for _, side := range []string{"source", "destination"} {
		for _, nets := range []string{"nets", "notNets"} {
			within(rule, []string{side, nets}, sized(0, 256), set)
		}
		for _, ports := range []string{"ports", "notPorts"} {
			within(rule, []string{side, ports}, sized(0, 50))
		}
		for _, selector := range []string{"selector", "notSelector", "namespaceSelector"} {
			within(rule, []string{side, selector}, short)
		}
		within(rule, []string{side, "serviceAccounts", "names"}, set)
	}
}

// within changes a part of a schema.
func within(s *schema, path []string, changes ...func(*schema)) {
	if len(path) == 0 {
		for _, change := range changes {
			change(s)
		}
		return
	}
	part, found := s.Properties[path[0]]
	if !found {
		panic("Calico's schema has no " + path[0])
	}
	within(&part, path[1:], changes...)
	s.Properties[path[0]] = part
}

func set(list *schema) { list.XListType = ptr.To("set") }

func short(text *schema) { text.MaxLength = ptr.To[int64](1024) }

func sized(least, most int64) func(*schema) {
	return func(list *schema) {
		list.MaxItems = &most
		if least > 0 {
			list.MinItems = &least
		}
	}
}

func items(change func(*schema)) func(*schema) {
	return func(list *schema) { change(list.Items.Schema) }
}

func valid(rule, message string) func(*schema) {
	return func(s *schema) {
		s.XValidations = append(s.XValidations, apiextensionsv1.ValidationRule{Rule: rule, Message: message})
	}
}
