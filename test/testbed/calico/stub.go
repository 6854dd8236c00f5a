// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// Stub is an API server in the place of Calico's. The stub answers every request, with a
// single object of each kind, but never finishes the list of a chosen resource.
type Stub struct {
	endless string
	finish  chan struct{} // closed to finish this list after all
	server  *httptest.Server
	client  client.Client
	created []client.Object
}

// stubKinds are the projectcalico.org/v3 kinds of a stub, by resource.
var stubKinds = map[string]string{
	"tiers": "Tier", "globalnetworkpolicies": "GlobalNetworkPolicy", "globalnetworksets": "GlobalNetworkSet",
	"hostendpoints": "HostEndpoint", "felixconfigurations": "FelixConfiguration", "ippools": "IPPool",
	"clusterinformations": "ClusterInformation",
}

// The place where a stub is registered.
const (
	stubNamespace = "default"
	stubName      = "stub"
	stubPath      = "/apis/" + groupVersion
)

// StartStub serves and registers a stub, and returns once the API server passes requests to
// the stub. The control plane needs [testbed.Options] with Aggregation.
func StartStub(ctx context.Context, cp *testbed.ControlPlane, endless string) (*Stub, error) {
	authority, key, err := cert.GenerateSelfSignedCertKey(stubName+"."+stubNamespace+".svc", nil, nil)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(authority, key)
	if err != nil {
		return nil, err
	}
	admin, err := client.New(cp.Config, client.Options{})
	if err != nil {
		return nil, err
	}
	s := &Stub{endless: endless, finish: make(chan struct{}), client: admin}
	s.server = httptest.NewUnstartedServer(s)
	s.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.server.StartTLS()
	if err := s.registerStub(ctx, authority); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Stub) registerStub(ctx context.Context, authority []byte) error {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: stubNamespace, Name: stubName},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}
	registration := newObject("apiregistration.k8s.io/v1", "APIService", "v3.projectcalico.org")
	registration.Object["spec"] = map[string]any{
		"group": "projectcalico.org", "version": "v3", "groupPriorityMinimum": int64(1500), "versionPriority": int64(200),
		"service": map[string]any{
			"namespace": stubNamespace, "name": stubName, "port": int64(s.server.Listener.Addr().(*net.TCPAddr).Port),
		},
		"caBundle": authority,
	}
	for _, object := range []client.Object{service, registration} {
		if err := s.client.Create(ctx, object); err != nil {
			return err
		}
		s.created = append(s.created, object)
	}
	// The API server passes requests once the route to the stub works.
	tiers := &unstructured.UnstructuredList{}
	tiers.SetAPIVersion(groupVersion)
	tiers.SetKind("TierList")
	return wait.PollUntilContextTimeout(ctx, pollInterval, startTimeout, true, func(ctx context.Context) (bool, error) {
		return s.client.List(ctx, tiers) == nil, nil
	})
}

// Finish makes the stub finish its list.
func (s *Stub) Finish() { close(s.finish) }

// Stop unregisters and stops the stub.
func (s *Stub) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var errs []error
	for _, object := range s.created {
		errs = append(errs, client.IgnoreNotFound(s.client.Delete(ctx, object)))
	}
	s.server.CloseClientConnections()
	s.server.Close()
	return errors.Join(errs...)
}

// ServeHTTP answers the API server.
func (s *Stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	resource := strings.TrimPrefix(r.URL.Path, stubPath+"/")
	kind := stubKinds[resource]
	switch {
	case r.URL.Path == stubPath:
		writeObject(w, map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": groupVersion, "resources": stubResources()})
	case kind == "":
		http.NotFound(w, r)
	case r.URL.Query().Get("watch") == "":
		s.sendList(w, r, resource, kind)
	default:
		w.(http.Flusher).Flush()
		<-r.Context().Done() // no event follows
	}
}

func stubResources() []any {
	var resources []any
	for resource, kind := range stubKinds {
		resources = append(resources, map[string]any{
			"name": resource, "singularName": strings.ToLower(kind), "kind": kind, "namespaced": false, "verbs": []string{"list", "watch"},
		})
	}
	return resources
}

// sendList sends one object, and the end of the list.
func (s *Stub) sendList(w http.ResponseWriter, r *http.Request, resource, kind string) {
	only := map[string]any{"kind": kind, "apiVersion": groupVersion, "metadata": map[string]any{"name": "default", "resourceVersion": "1"}}
	if resource == "globalnetworkpolicies" {
		// A policy without a selector would deny all traffic on every host.
		only["spec"] = map[string]any{"selector": "stub == 'yes'"}
	}
	if resource == s.endless {
		_, _ = w.Write([]byte(" "))
		w.(http.Flusher).Flush()
		select {
		case <-s.finish:
		case <-r.Context().Done():
			return
		}
	}
	writeObject(w, map[string]any{
		"kind": kind + "List", "apiVersion": groupVersion, "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{only},
	})
}

func writeObject(w http.ResponseWriter, object any) {
	_ = json.NewEncoder(w).Encode(object)
	w.(http.Flusher).Flush()
}
