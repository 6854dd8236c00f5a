// SPDX-License-Identifier: Apache-2.0

package field

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	. "github.com/onsi/gomega"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/cpnp-dev/cpnp-operator/controllers"
)

// API servers keep the EndpointSlice with their addresses themselves. That of the
// test bed does not, so that tests can have API servers elsewhere, which come and go.
var (
	withoutEndpoints = map[string][]string{"endpoint-reconciler-type": {"none"}}
	// nobodys is the address that the test bed's API server is said to have: nothing
	// listens there.
	nobodys = netip.MustParseAddr("192.0.2.1")
)

// serverPort is that of the test bed's API server.
func serverPort() (uint16, error) {
	server, _, err := rest.DefaultServerUrlFor(ControlPlane.Config)
	if err != nil {
		return 0, fmt.Errorf("address of the API server: %w", err)
	}
	port, err := strconv.ParseUint(server.Port(), 10, 16)
	return uint16(port), err
}

// showServers has the EndpointSlice of the API servers show these addresses.
func showServers(ctx context.Context, port uint16, addresses ...netip.Addr) error {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "kubernetes"}}
	_, err := controllerutil.CreateOrUpdate(ctx, Admin, slice, func() error {
		slice.Labels = map[string]string{discoveryv1.LabelServiceName: "kubernetes"}
		slice.AddressType = discoveryv1.AddressTypeIPv4
		slice.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To(int32(port))}}
		slice.Endpoints = nil
		for _, address := range addresses {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address.String()}})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("showing where the API servers are: %w", err)
	}
	return nil
}

// SteadySoon has an address count as an API server's after a second: those of a test are
// its own.
var SteadySoon = controllers.Options{APIServerTime: time.Second}

// APIServers has API servers at these addresses, and nowhere else, until the test
// ends.
func (f *Field) APIServers(port uint16, addresses ...netip.Addr) {
	f.T.Helper()
	f.Expect(showServers(f.T.Context(), port, addresses...)).To(Succeed())
	f.T.Cleanup(func() { f.Expect(showServers(context.Background(), f.APIServerPort(), nobodys)).To(Succeed()) })
}

// APIServerPort is that of the test bed's API server, which every node of the
// control plane is taken to have.
func (f *Field) APIServerPort() uint16 {
	f.T.Helper()
	port, err := serverPort()
	f.Expect(err).NotTo(HaveOccurred())
	return port
}

// startServers shows the API server where it is said to be from the beginning.
func startServers(ctx context.Context) error {
	port, err := serverPort()
	if err != nil {
		return err
	}
	return showServers(ctx, port, nobodys)
}
