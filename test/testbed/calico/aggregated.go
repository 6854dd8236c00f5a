// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// The namespace and the Service in which Calico's operator places Calico's API server.
const (
	apiNamespace = "calico-apiserver"
	apiService   = "calico-api"
)

// startAggregated starts Calico's API server, and registers the server.
func (c *Calico) startAggregated(ctx context.Context) error {
	if err := c.installCRDs(storageCRDs); err != nil {
		return err
	}
	authority, port, err := c.startAPIServer()
	if err != nil {
		return err
	}
	if err := c.registerAPI(ctx, authority, port); err != nil {
		return err
	}
	service := newObject("apiregistration.k8s.io/v1", "APIService", "v3.projectcalico.org")
	if err := c.waitFor(ctx, service, func() bool { return isAvailable(service) }); err != nil {
		return err
	}
	// The server creates both objects by itself, some time after becoming ready.
	information := newObject(groupVersion, "ClusterInformation", "default")
	if err := c.waitFor(ctx, information, func() bool { return true }); err != nil {
		return err
	}
	tier := newObject(groupVersion, "Tier", "default")
	return c.waitFor(ctx, tier, func() bool { return true })
}

// startAPIServer returns the certificate authority of the server, and its port on loopback.
func (c *Calico) startAPIServer() (authority []byte, port int, err error) {
	host := apiService + "." + apiNamespace + ".svc"
	authority, key, err := cert.GenerateSelfSignedCertKey(host, nil, nil)
	if err != nil {
		return nil, 0, err
	}
	certFile, keyFile := filepath.Join(c.cp.Dir, "calico-apiserver.crt"), filepath.Join(c.cp.Dir, "calico-apiserver.key")
	for file, content := range map[string][]byte{certFile: authority, keyFile: key} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return nil, 0, err
		}
	}
	if port, err = freePort(); err != nil {
		return nil, 0, err
	}
	kubeconfig, err := c.cp.AddUserKubeconfig("calico-apiserver", testbed.Masters)
	if err != nil {
		return nil, 0, err
	}
	c.apiServer, err = c.startProgram(program{
		name: "calico-apiserver", file: apiServer, kubeconfig: kubeconfig,
		args: []string{
			"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port),
			"--tls-cert-file=" + certFile, "--tls-private-key-file=" + keyFile,
			"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		},
	})
	return authority, port, err
}

// registerAPI makes the Kubernetes API server pass requests for the group to loopback, by a
// Service of type ExternalName.
func (c *Calico) registerAPI(ctx context.Context, authority []byte, port int) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: apiNamespace}}
	// The namespace of an earlier start stays: no controller here finishes the deletion of
	// namespaces.
	if err := client.IgnoreAlreadyExists(c.client.Create(ctx, namespace)); err != nil {
		return err
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: apiNamespace, Name: apiService},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}
	registration := newObject("apiregistration.k8s.io/v1", "APIService", "v3.projectcalico.org")
	registration.Object["spec"] = map[string]any{
		"group": "projectcalico.org", "version": "v3",
		"groupPriorityMinimum": int64(1500), "versionPriority": int64(200),
		"service":  map[string]any{"namespace": apiNamespace, "name": apiService, "port": int64(port)},
		"caBundle": authority,
	}
	return c.createObjects(ctx, service, registration)
}

// isAvailable tells whether the API server can reach the APIService's server.
func isAvailable(service *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(service.Object, "status", "conditions")
	for _, condition := range conditions {
		if c, ok := condition.(map[string]any); ok && c["type"] == "Available" {
			return c["status"] == "True"
		}
	}
	return false
}

// freePort returns a port without a listener.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
