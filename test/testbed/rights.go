// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// ShippedBinding is the name of AddOperator's ClusterRoleBinding.
const ShippedBinding = "manager-rolebinding"

// AddOperator returns the configuration of a user with exactly the rights of the operator:
// the ClusterRole in a file of config/rbac, and the Roles shipped beside the ClusterRole.
// The same admission policies confine the user and the operator.
func (cp *ControlPlane) AddOperator(ctx context.Context, user, roleFile string) (*rest.Config, error) {
	role, err := readRole(roleFile)
	if err != nil {
		return nil, err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: ShippedBinding},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	admin, err := client.New(cp.Config, client.Options{})
	if err != nil {
		return nil, err
	}
	besides, err := ShippedBesides(configDirOf(roleFile), user)
	if err != nil {
		return nil, err
	}
	for _, object := range append([]client.Object{role, binding}, besides...) {
		if err := admin.Create(ctx, object); err != nil {
			return nil, fmt.Errorf("granting the operator's rights: %w", err)
		}
	}
	return cp.AddUser(user)
}

// RoleOf returns a role of the user's name with the rules, and a binding of this role to
// the user: in the namespace, or in the whole cluster without a namespace.
func RoleOf(user, namespace string, rules ...rbacv1.PolicyRule) []client.Object {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: user}
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user}
	if namespace == "" {
		return []client.Object{
			&rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules},
			&rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects},
		}
	}
	ref.Kind = "Role"
	return []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: rules},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects},
	}
}

// configDirOf returns the folder config of the repository, of a file in config/rbac.
func configDirOf(roleFile string) string { return filepath.Dir(filepath.Dir(roleFile)) }

func readRole(file string) (*rbacv1.ClusterRole, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the operator's rights: %w", err)
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(text, role); err != nil {
		return nil, fmt.Errorf("the operator's rights: %w", err)
	}
	return role, nil
}

// events are written by a recorder. The recorder decides how to sum up repeated events, and
// in which of two groups.
const events = "events"

// ownMark is no resource: an admission policy recognizes the operator by the right to
// ownMark, and no request uses the right.
const ownMark = "controlplanenodeenactments/spec"

// Rights returns the rules of the ClusterRole in a file of config/rbac, and of the Roles
// to read ConfigMaps, as "verb group/resource", without those to events.
func Rights(roleFile string) ([]string, error) {
	role, err := readRole(roleFile)
	if err != nil {
		return nil, err
	}
	configMaps, err := configMapRoles(configDirOf(roleFile))
	if err != nil {
		return nil, err
	}
	rules := role.Rules
	for _, role := range configMaps {
		rules = append(rules, role.Rules...)
	}
	var rights []string
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					if resource != events && resource != ownMark {
						rights = append(rights, verb+" "+group+"/"+resource)
					}
				}
			}
		}
	}
	slices.Sort(rights)
	return slices.Compact(rights), nil
}

// RightsUsed returns the rights needed by the user's requests, in the form of Rights. A
// creating apply also needs the right to create, and a watch the right to list, for servers
// without streamed lists.
func RightsUsed(logged []AuditEvent, user string) []string {
	var used []string
	for _, e := range logged {
		if e.User != user || e.Resource == "" || e.Resource == events {
			continue
		}
		resource := e.Group + "/" + e.Resource
		if e.Subresource != "" {
			resource += "/" + e.Subresource
		}
		used = append(used, e.Verb+" "+resource)
		switch {
		case e.Verb == "patch" && e.Code == http.StatusCreated:
			used = append(used, "create "+resource)
		case e.Verb == "watch":
			used = append(used, "list "+resource)
		}
	}
	slices.Sort(used)
	return slices.Compact(used)
}
