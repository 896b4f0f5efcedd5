set -e
call() { wget --quiet --tries 1 --ca-certificate "$ca" --timeout 200 --output-document - "$@"; }
url=$1 ca=$2 upload=$4
call "$url"
call "$url/files/large" | wc -c
call --server-response --method PUT --body-file "$upload" "$url/files/uploaded" 2>&1 | awk '/^ *HTTP/ { print $2 }'
call "$url/stream" | { read -r first; call "$url/ack"; read -r second; echo "$first $second"; }
