// SPDX-License-Identifier: Apache-2.0

package stolen

import "net/http"

// targets are objects that no stolen token of the operator or of a probe may
// write in any way, each with its collection and a name.
var targets = [][2]string{
	{"/api/v1/namespaces/kube-system/pods", "x"},
	{"/api/v1/namespaces/kube-system/secrets", "secret"},
	{"/api/v1/namespaces/kube-system/configmaps", "kubeadm-config"},
	{"/api/v1/namespaces/kube-system/serviceaccounts", "default"},
	{"/api/v1/namespaces/default/endpoints", "kubernetes"},
	{"/api/v1/namespaces", "default"},
	{"/api/v1/persistentvolumes", "x"},
	{"/apis/apps/v1/namespaces/kube-system/deployments", "x"},
	{"/apis/apps/v1/namespaces/kube-system/daemonsets", "x"},
	{"/apis/batch/v1/namespaces/kube-system/jobs", "x"},
	{"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", "kubernetes"},
	{"/apis/rbac.authorization.k8s.io/v1/clusterroles", "cpnp-manager-role"},
	{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "cpnp-manager-rolebinding"},
	{"/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles", "x"},
	{"/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings", "x"},
	{"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", "cpnp-confine-nodes"},
	{"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", "cpnp-confine-nodes"},
	{"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", "x"},
	{"/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "controlplanenetworkpolicies.cpnp.dev"},
	{"/apis/apiregistration.k8s.io/v1/apiservices", "v1.apps"},
	{"/apis/certificates.k8s.io/v1/certificatesigningrequests", "x"},
	{"/apis/projectcalico.org/v3/ippools", "x"},
	{"/apis/projectcalico.org/v3/clusterinformations", "default"},
}

// ungranted returns writes that no role grants: to create, change and delete every
// target, and single writes of kinds that the operator writes in other ways.
func ungranted() map[string]write {
	writes := map[string]write{
		"create a Node":              create("/api/v1/nodes", `{apiVersion: v1, kind: Node, metadata: {name: x}}`),
		"delete a Node":              remove("/api/v1/nodes/cp-1"),
		"status of a Node":           patch("/api/v1/nodes/cp-1/status", `{status: {}}`),
		"create a Service":           create("/api/v1/namespaces/default/services", `{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 80}]}}`),
		"delete a Service":           remove("/api/v1/namespaces/default/services/web"),
		"status of a Service":        patch("/api/v1/namespaces/default/services/web/status", `{status: {}}`),
		"create a policy":            create("/apis/cpnp.dev/v1alpha1/controlplanenetworkpolicies", `{apiVersion: cpnp.dev/v1alpha1, kind: ControlPlaneNetworkPolicy, metadata: {name: x}}`),
		"delete a policy":            remove("/apis/cpnp.dev/v1alpha1/controlplanenetworkpolicies/plane"),
		"delete all policies":        remove("/apis/cpnp.dev/v1alpha1/controlplanenetworkpolicies"),
		"delete all NetworkPolicies": remove("/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"),
		"delete all endpoints":       remove("/apis/projectcalico.org/v3/hostendpoints"),
		"token of an account":        create("/api/v1/namespaces/cpnp-system/serviceaccounts/cpnp-controller-manager/token", `{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, spec: {}}`),
		"evict a pod":                create("/api/v1/namespaces/cpnp-probe/pods/probe-cp-1/eviction", `{apiVersion: policy/v1, kind: Eviction, metadata: {name: probe-cp-1}}`),
		"bind a pod":                 create("/api/v1/namespaces/cpnp-probe/pods/probe-cp-1/binding", `{apiVersion: v1, kind: Binding, metadata: {name: probe-cp-1}, target: {kind: Node, name: cp-1}}`),
		"approve a certificate":      patch("/apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval", `{status: {}}`),
		"lease of a Node":            patch("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/cp-1", `{spec: {}}`),
		"delete a report":            remove("/apis/openreports.io/v1alpha1/clusterreports/cpnp-plane"),
		"delete all reports":         remove("/apis/openreports.io/v1alpha1/clusterreports"),
		"replace a Node":             {http.MethodPut, "/api/v1/nodes/cp-1", `{apiVersion: v1, kind: Node, metadata: {name: cp-1}}`},
	}
	for _, target := range targets {
		collection, name := target[0], target[1]
		writes["create "+collection] = create(collection, `{metadata: {name: thief}}`)
		writes["patch "+collection] = patch(collection+"/"+name, `{metadata: {labels: {x: z}}}`)
		writes["delete "+collection] = remove(collection + "/" + name)
	}
	return writes
}
