/*
 * s3_xml_write - an escaping XML writer over an encoder.
 *
 * CR is written as &#13;. Bytes that XML 1.0 cannot carry (controls, U+FFFE, U+FFFF, invalid UTF-8)
 * become U+FFFD: documents stay well-formed, and clients that need such keys ask for
 * encoding-type=url (S3-SURFACE 1.2).
 */
#ifndef GATEWAY_S3_XML_WRITE_H
#define GATEWAY_S3_XML_WRITE_H

#include "common/base/codec.h"
#include "common/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define S3_XML_NAMESPACE "http://s3.amazonaws.com/doc/2006-03-01/"

void s3_xml_text(struct enc *out, struct slice text); /* escaped character data */
void s3_xml_raw(struct enc *out, const char *text);   /* markup of ours */
/* Declaration and root in our namespace; name must stay valid. */
void s3_xml_root(struct enc *out, const char *name);
void s3_xml_open(struct enc *out, const char *name);
void s3_xml_close(struct enc *out, const char *name);
void s3_xml_element(struct enc *out, const char *name, struct slice text);
void s3_xml_element_str(struct enc *out, const char *name, const char *text);
void s3_xml_element_u64(struct enc *out, const char *name, uint64_t value);
void s3_xml_element_bool(struct enc *out, const char *name, bool value);
void s3_xml_element_time(struct enc *out, const char *name, uint64_t wall_ms);
void s3_xml_element_etag(struct enc *out, const char *name, struct slice bare_etag); /* adds quotes */
/* Percent-encoded where url (encoding-type=url), else escaped. */
void s3_xml_element_key(struct enc *out, const char *name, struct slice key, bool url);

#endif
