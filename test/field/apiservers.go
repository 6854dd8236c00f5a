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

// API servers write the EndpointSlice with their own addresses. The API server of the test
// bed does not, so tests can place API servers elsewhere, and add and remove them.
var (
	withoutEndpoints = map[string][]string{"endpoint-reconciler-type": {"none"}}
	// unusedAddress is the announced address of the test bed's API server. No server
	// listens at unusedAddress.
	unusedAddress = netip.MustParseAddr("192.0.2.1")
)

// serverPort returns the port of the test bed's API server.
func serverPort() (uint16, error) {
	server, _, err := rest.DefaultServerUrlFor(ControlPlane.Config)
	if err != nil {
		return 0, fmt.Errorf("address of the API server: %w", err)
	}
	port, err := strconv.ParseUint(server.Port(), 10, 16)
	return uint16(port), err
}

// showServers writes the given addresses into the EndpointSlice of the API servers.
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

// SteadySoon makes the operator trust an API server's address after a second, because the
// test chooses all addresses.
var SteadySoon = controllers.Options{APIServerTime: time.Second}

// SetAPIServers announces API servers at the given addresses, and nowhere else, until the
// test ends.
func (f *Field) SetAPIServers(port uint16, addresses ...netip.Addr) {
	f.T.Helper()
	f.Expect(showServers(f.T.Context(), port, addresses...)).To(Succeed())
	f.T.Cleanup(func() { f.Expect(showServers(context.Background(), f.APIServerPort(), unusedAddress)).To(Succeed()) })
}

// APIServerPort returns the port of the test bed's API server. Every control-plane node is
// assumed to use the same port.
func (f *Field) APIServerPort() uint16 {
	f.T.Helper()
	port, err := serverPort()
	f.Expect(err).NotTo(HaveOccurred())
	return port
}

// startServers announces the API server at its unused address before any test starts.
func startServers(ctx context.Context) error {
	port, err := serverPort()
	if err != nil {
		return err
	}
	return showServers(ctx, port, unusedAddress)
}
