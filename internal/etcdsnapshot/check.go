// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Check returns an error that lists all faults of the options.
func (o *Options) Check() error {
	_, endpoints := parseEndpoints(o.Endpoints)
	_, lease := parseLease(o.Lease)
	return errors.Join(endpoints, lease, o.checkFiles(), o.checkLimits())
}

func (o *Options) checkFiles() error {
	var wrong []error
	for _, flag := range []struct{ name, value, about string }{
		{"cacert", o.CACert, "the CA of etcd's server certificate"},
		{"cert", o.Cert, "the client certificate for etcd"},
		{"key", o.Key, "the key of the client certificate"},
		{"dir", o.Dir, "the folder for snapshots"},
	} {
		if flag.value == "" {
			wrong = append(wrong, fmt.Errorf("%s is not known: set --%s", flag.about, flag.name))
		}
	}
	return errors.Join(wrong...)
}

func (o *Options) checkLimits() error {
	var wrong []error
	if o.Timeout <= 0 {
		wrong = append(wrong, errors.New("--timeout must be more than 0"))
	}
	if o.KeepCount < 0 {
		wrong = append(wrong, errors.New("--keep-count must be 0 (no limit) or more"))
	}
	if o.KeepAge < 0 {
		wrong = append(wrong, errors.New("--keep-age must be 0 (no limit) or more"))
	}
	return errors.Join(wrong...)
}

// parseEndpoints returns the addresses, host:port each. Without TLS, any machine between
// here and etcd could read the snapshot, and so all secrets of the cluster.
func parseEndpoints(list string) ([]string, error) {
	var addresses []string
	for endpoint := range strings.SplitSeq(list, ",") {
		endpoint = strings.TrimSpace(endpoint)
		address, err := parseEndpoint(endpoint)
		if err != nil {
			return nil, fmt.Errorf("--endpoints has %q, %w: use addresses such as https://127.0.0.1:2379, separated by commas", endpoint, err)
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

func parseEndpoint(endpoint string) (address string, err error) {
	parsed, err := url.Parse(endpoint)
	switch {
	case endpoint == "":
		return "", errors.New("which is empty")
	case err != nil || parsed.Scheme == "" || parsed.Host == "":
		return "", errors.New("which is no address")
	case parsed.Scheme != "https":
		return "", fmt.Errorf("which is not https, but %s", parsed.Scheme)
	case parsed.Port() == "":
		return "", errors.New("which has no port")
	case strings.Trim(parsed.Path, "/") != "" || parsed.RawQuery != "" || parsed.User != nil || parsed.Fragment != "":
		return "", errors.New("which has more than a host and a port")
	}
	return net.JoinHostPort(parsed.Hostname(), parsed.Port()), nil
}

// parseLease returns the namespace and the name of the Lease; nothing for an empty text.
func parseLease(text string) (types.NamespacedName, error) {
	if text == "" {
		return types.NamespacedName{}, nil
	}
	namespace, name, both := strings.Cut(text, "/")
	wrong := append(validation.IsDNS1123Label(namespace), validation.IsDNS1123Subdomain(name)...)
	if !both || len(wrong) > 0 {
		return types.NamespacedName{}, fmt.Errorf("--lease is %q, which is not the namespace and the name of a Lease: "+
			"use namespace/name, such as cpnp-etcd-snapshot/etcd-snapshot", text)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}
