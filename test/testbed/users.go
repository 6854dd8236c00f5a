// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Masters is the group with all rights, whatever RBAC says.
const Masters = "system:masters"

// AddUser returns the configuration of a client with a certificate for the user and the
// groups. RBAC decides on the user's rights. Each user has a separate name in the audit log
// and in conflicts of managedFields.
func (cp *ControlPlane) AddUser(name string, groups ...string) (*rest.Config, error) {
	user, err := cp.addUser(name, groups)
	if err != nil {
		return nil, err
	}
	return user.Config(), nil
}

// AccountConfig returns the configuration of a client with a token of a service account. The
// token is bound to the pod, if there is one, as the token in a pod is.
func (cp *ControlPlane) AccountConfig(ctx context.Context, namespace, name string, pod *corev1.Pod) (*rest.Config, error) {
	admin, err := kubernetes.NewForConfig(cp.Config)
	if err != nil {
		return nil, err
	}
	request := &authenticationv1.TokenRequest{}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	}
	answer, err := admin.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("token of service account %s/%s: %w", namespace, name, err)
	}
	config := rest.AnonymousClientConfig(cp.Config)
	config.BearerToken = answer.Status.Token
	return config, nil
}

// Impersonate returns how an administrator acts as a service account: as with a token that is
// bound to a pod on the node, if there is one.
func Impersonate(namespace, account, node string) rest.ImpersonationConfig {
	impersonated := rest.ImpersonationConfig{
		UserName: serviceaccount.MakeUsername(namespace, account),
		Groups:   append(serviceaccount.MakeGroupNames(namespace), "system:authenticated"),
	}
	if node != "" {
		impersonated.Extra = map[string][]string{serviceaccount.NodeNameKey: {node}}
	}
	return impersonated
}

// AddUserKubeconfig is AddUser for programs: the returned path is of a kubeconfig, which
// Stop removes.
func (cp *ControlPlane) AddUserKubeconfig(name string, groups ...string) (string, error) {
	user, err := cp.addUser(name, groups)
	if err != nil {
		return "", err
	}
	content, err := user.KubeConfig()
	if err != nil {
		return "", fmt.Errorf("kubeconfig of user %s: %w", name, err)
	}
	return cp.writeKubeconfig(name, content)
}

func (cp *ControlPlane) addUser(name string, groups []string) (*envtest.AuthenticatedUser, error) {
	// The client must not limit a test: the same figures as in envtest.
	base := &rest.Config{QPS: 1000, Burst: 2000}
	cp.users.Lock() // envtest's authority counts its certificates
	defer cp.users.Unlock()
	user, err := cp.env.AddUser(envtest.User{Name: name, Groups: groups}, base)
	if err != nil {
		return nil, fmt.Errorf("add user %s: %w", name, err)
	}
	return user, nil
}

// writeKubeconfig writes a kubeconfig to a path without colons, because colons separate the
// paths in the variable KUBECONFIG.
func (cp *ControlPlane) writeKubeconfig(user string, content []byte) (string, error) {
	pattern := strings.NewReplacer(":", "-", "/", "-").Replace(user) + "-*.kubeconfig"
	file, err := os.CreateTemp(cp.Dir, filepath.Base(pattern))
	if err != nil {
		return "", err
	}
	_, err = file.Write(content)
	return file.Name(), errors.Join(err, file.Close())
}
