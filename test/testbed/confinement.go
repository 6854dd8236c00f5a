// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// confinementOff is an environment variable. The value "off" leaves out the admission
// policies that confine the operator, to find out whether a test fails because of the
// policies.
const confinementOff = "CPNP_CONFINEMENT"

// matchOperator is the match condition with the user confined by an admission policy.
const matchOperator = "by-the-operator"

// ShippedBesides returns the objects shipped for the operator beside the ClusterRole, for a
// user in place of the service account: the Roles to read ConfigMaps, and the admission
// policies. configDir is the folder config of the repository.
func ShippedBesides(configDir, user string) ([]client.Object, error) {
	roles, err := configMapRoles(configDir)
	if err != nil {
		return nil, err
	}
	var objects []client.Object
	for _, role := range roles {
		objects = append(objects, role, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: role.Namespace, Name: role.Name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		})
	}
	if os.Getenv(confinementOff) == "off" {
		return objects, nil
	}
	confinement, err := confinementOf(configDir, user)
	return append(objects, confinement...), err
}

// confinementOf returns the admission policies that confine the operator, and the bindings,
// for a user in place of the service account.
func confinementOf(configDir, user string) ([]client.Object, error) {
	var objects []client.Object
	err := eachDocument(filepath.Join(configDir, "rbac", "operator_admission.yaml"), func(kind string, text []byte) error {
		if kind == "ValidatingAdmissionPolicyBinding" {
			binding := &admissionv1.ValidatingAdmissionPolicyBinding{}
			objects = append(objects, binding)
			return yaml.UnmarshalStrict(text, binding)
		}
		policy := &admissionv1.ValidatingAdmissionPolicy{}
		objects = append(objects, policy)
		if err := yaml.UnmarshalStrict(text, policy); err != nil {
			return err
		}
		conditions := policy.Spec.MatchConditions
		if len(conditions) != 1 || conditions[0].Name != matchOperator {
			return fmt.Errorf("admission policy %s does not apply to the operator alone", policy.Name)
		}
		conditions[0].Expression = fmt.Sprintf("request.userInfo.username == %q", user)
		return nil
	})
	return objects, err
}

// configMapRoles returns the Roles to read ConfigMaps in namespaces of Kubernetes.
func configMapRoles(configDir string) ([]*rbacv1.Role, error) {
	var roles []*rbacv1.Role
	err := eachDocument(filepath.Join(configDir, "configmaps", "role.yaml"), func(_ string, text []byte) error {
		role := &rbacv1.Role{}
		roles = append(roles, role)
		return yaml.UnmarshalStrict(text, role)
	})
	return roles, err
}

// eachDocument calls a function with the kind and the text of each document of a file.
func eachDocument(file string, do func(kind string, text []byte) error) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal(document, &meta); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := do(meta.Kind, document); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}
