// SPDX-License-Identifier: Apache-2.0

package calico

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/utils/ptr"
)

// The API as CRDs exists from v3.32 on. The CRDs here are made from the files of v3.31,
// with fewer checks. The following functions add the checks of later versions
// (api/pkg/apis/projectcalico/v3) to the kinds written by the operator. Calico's storage
// and the API server of v3.31 do not know the later checks, and the API server of v3.31
// would ignore the checks: for the merge of a server-side apply, the server uses built-in
// schemas.

// asLater changes a kind to the form in later versions of Calico: lists as sets, and
// further checks (v3.32); and the limits of all sizes (v3.33).
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
		changePart(s, []string{"spec", "nets"}, withSize(0, 100_000), asSet)
	},
	"HostEndpoint": func(s *schema) {
		changePart(s, []string{"spec", "expectedIPs"}, asSet)
		changePart(s, []string{"spec", "profiles"}, asSet)
		changePart(s, []string{"spec"}, withRule("has(self.node) && size(self.node) > 0", "node must be specified"),
			withRule("(has(self.interfaceName) && size(self.interfaceName) > 0) || (has(self.expectedIPs) && size(self.expectedIPs) > 0)",
				"at least one of interfaceName or expectedIPs must be specified"))
	},
	"GlobalNetworkPolicy": func(s *schema) {
		changePart(s, []string{"spec", "types"}, withSize(1, 2), asSet)
		changePart(s, []string{"spec", "selector"}, asShortText)
		for _, rules := range []string{"ingress", "egress"} {
			changePart(s, []string{"spec", rules}, withSize(0, 1024), eachItem(laterRule))
		}
	},
	"Tier": func(s *schema) {
		for _, tier := range [][2]string{{"default", "Deny"}, {"kube-admin", "Pass"}, {"kube-baseline", "Pass"}} {
			name, action := tier[0], tier[1]
			withRule("self.metadata.name != '"+name+"' || has(self.spec.defaultAction) && self.spec.defaultAction == '"+action+"'",
				"The '"+name+"' tier must have default action '"+action+"'")(s)
		}
	},
}

func laterRule(rule *schema) {
	for _, side := range []string{"source", "destination"} {
		for _, nets := range []string{"nets", "notNets"} {
			changePart(rule, []string{side, nets}, withSize(0, 256), asSet)
		}
		for _, ports := range []string{"ports", "notPorts"} {
			changePart(rule, []string{side, ports}, withSize(0, 50))
		}
		for _, selector := range []string{"selector", "notSelector", "namespaceSelector"} {
			changePart(rule, []string{side, selector}, asShortText)
		}
		changePart(rule, []string{side, "serviceAccounts", "names"}, asSet)
	}
}

// changePart changes a part of a schema.
func changePart(s *schema, path []string, changes ...func(*schema)) {
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
	changePart(&part, path[1:], changes...)
	s.Properties[path[0]] = part
}

func asSet(list *schema) { list.XListType = ptr.To("set") }

func asShortText(text *schema) { text.MaxLength = ptr.To[int64](1024) }

func withSize(least, most int64) func(*schema) {
	return func(list *schema) {
		list.MaxItems = &most
		if least > 0 {
			list.MinItems = &least
		}
	}
}

func eachItem(change func(*schema)) func(*schema) {
	return func(list *schema) { change(list.Items.Schema) }
}

func withRule(rule, message string) func(*schema) {
	return func(s *schema) {
		s.XValidations = append(s.XValidations, apiextensionsv1.ValidationRule{Rule: rule, Message: message})
	}
}
