# The test cluster and the images: see e2e/cluster/README.md. Included by the
# Makefile at the top.

.PHONY: cluster cluster-down images tools

cluster: ## a Kubernetes on this machine, as root on Linux without Docker
	@e2e/cluster/up.sh

cluster-down: ## removes it
	@e2e/cluster/down.sh

images: ## the two container images, as OCI archives below target/images
	@images/build.sh

tools: ## what the suites on a real Kubernetes need and is missing
	@e2e/cluster/tools.sh
