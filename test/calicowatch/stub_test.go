// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// stub is an API server in the place of Calico's. It answers everything, but
// never says that it has told all of one resource.
type stub struct {
	endless string

	finish chan struct{} // closed when it says so after all
}

// kinds are those of projectcalico.org/v3 that the stub serves, by resource.
var kinds = map[string]string{
	"tiers": "Tier", "globalnetworkpolicies": "GlobalNetworkPolicy", "globalnetworksets": "GlobalNetworkSet",
	"hostendpoints": "HostEndpoint", "felixconfigurations": "FelixConfiguration", "ippools": "IPPool",
	"clusterinformations": "ClusterInformation",
}

const calicoPath = "/apis/projectcalico.org/v3"

// startStub serves and registers a stub for as long as the test lasts.
func startStub(t *testing.T, endless string) *stub {
	t.Helper()
	g := NewWithT(t)
	const namespace, name = "default", "stub"
	authority, key, err := cert.GenerateSelfSignedCertKey(name+"."+namespace+".svc", nil, nil)
	g.Expect(err).NotTo(HaveOccurred())
	certificate, err := tls.X509KeyPair(authority, key)
	g.Expect(err).NotTo(HaveOccurred())
	s := &stub{endless: endless, finish: make(chan struct{})}
	server := httptest.NewUnstartedServer(s)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	_, portText, err := net.SplitHostPort(server.Listener.Addr().String())
	g.Expect(err).NotTo(HaveOccurred())
	port, err := strconv.Atoi(portText)
	g.Expect(err).NotTo(HaveOccurred())

	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}
	registration := apiService("v3.projectcalico.org", map[string]any{
		"group": "projectcalico.org", "version": "v3", "groupPriorityMinimum": int64(1500), "versionPriority": int64(200),
		"service":  map[string]any{"namespace": namespace, "name": name, "port": int64(port)},
		"caBundle": authority,
	})
	uninstallAfter(t)
	for _, object := range []client.Object{service, registration} {
		g.Expect(admin.Create(t.Context(), object)).To(Succeed())
		t.Cleanup(func() { remove(t, object) })
	}
	// A watch that fails at first would be followed by a list, which works.
	g.Eventually(func() error { return admin.List(t.Context(), &v3.TierList{}) }, deadline, interval).Should(Succeed())
	return s
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	resource := strings.TrimPrefix(r.URL.Path, calicoPath+"/")
	kind := kinds[resource]
	switch {
	case r.URL.Path == calicoPath:
		write(w, map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "projectcalico.org/v3"})
	case kind == "":
		http.NotFound(w, r)
	case r.URL.Query().Get("watch") == "":
		write(w, map[string]any{
			"kind": kind + "List", "apiVersion": "projectcalico.org/v3",
			"metadata": map[string]any{"resourceVersion": "1"}, "items": []any{},
		})
	default:
		s.watch(w, r, resource, kind)
	}
}

// watch sends one object, and that it was all.
func (s *stub) watch(w http.ResponseWriter, r *http.Request, resource, kind string) {
	object := func(meta map[string]any) map[string]any {
		return map[string]any{"kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": meta}
	}
	write(w, map[string]any{"type": "ADDED", "object": object(map[string]any{"name": "default", "resourceVersion": "1"})})
	if resource == s.endless {
		select {
		case <-s.finish:
		case <-r.Context().Done():
			return
		}
	}
	write(w, map[string]any{"type": "BOOKMARK", "object": object(map[string]any{
		"resourceVersion": "1", "annotations": map[string]any{metav1.InitialEventsAnnotationKey: "true"},
	})})
	<-r.Context().Done()
}

func write(w http.ResponseWriter, object any) {
	_ = json.NewEncoder(w).Encode(object)
	w.(http.Flusher).Flush()
}
