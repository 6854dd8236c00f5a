// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"fmt"
	"os"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// ShippedBinding is the name of the ClusterRoleBinding that AddOperator makes.
const ShippedBinding = "manager-rolebinding"

// AddOperator returns the configuration of a user who has the rights of the
// ClusterRole in a file, and nothing more: those that are shipped.
func (cp *ControlPlane) AddOperator(ctx context.Context, user, roleFile string) (*rest.Config, error) {
	text, err := os.ReadFile(roleFile)
	if err != nil {
		return nil, fmt.Errorf("the operator's rights: %w", err)
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(text, role); err != nil {
		return nil, fmt.Errorf("the operator's rights: %w", err)
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
	for _, object := range []client.Object{role, binding} {
		if err := admin.Create(ctx, object); err != nil {
			return nil, fmt.Errorf("granting the operator's rights: %w", err)
		}
	}
	return cp.AddUser(user)
}
