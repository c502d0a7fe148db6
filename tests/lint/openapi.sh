#!/bin/bash
# SPDX-License-Identifier: MIT
# openapi.json is a valid OpenAPI document, by JSON::Validator and the schema of
# the OpenAPI Initiative that comes with it. Skipped where that is not installed.
set -euo pipefail
cd "${top_srcdir:-$(dirname "$0")/../..}"

if ! perl -MJSON::Validator::Schema::OpenAPIv3 -e1 2>/dev/null; then
    if [ -n "${CI-}" ]; then
        echo "JSON::Validator is not installed, and CI is set: contrib/install-deps.sh --test"
        exit 1
    fi
    echo "JSON::Validator is not installed (libjson-validator-perl): skipped"
    exit 77
fi
perl -MJSON::Validator -MCwd=abs_path -e '
    my $schema = JSON::Validator->new->schema("file://" . abs_path("src/api/openapi.json"))->schema;
    die "not taken for an OpenAPI 3 document\n" unless $schema->isa("JSON::Validator::Schema::OpenAPIv3");
    print "openapi.json: $_\n" for @{$schema->errors};
    exit(@{$schema->errors} ? 1 : 0);
'
