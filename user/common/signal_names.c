/* SPDX-License-Identifier: BSD-2-Clause */
/* What messages and errors are called in logs and JSON. */
#include "signal_codec.h"

const char *ntm_error_name(enum ntm_error e)
{
	static const char *const names[] = {
	    [NTM_E_UNKNOWN_MESSAGE] = "unknown_message",
	    [NTM_E_MALFORMED] = "malformed",
	    [NTM_E_NOT_REGISTERED] = "not_registered",
	    [NTM_E_BAD_TOKEN] = "bad_token",
	    [NTM_E_NAME_TAKEN] = "name_taken",
	    [NTM_E_BAD_NAME] = "bad_name",
	    [NTM_E_NO_SUCH_NAME] = "no_such_name",
	    [NTM_E_OFFLINE] = "offline",
	    [NTM_E_DENIED] = "denied",
	    [NTM_E_POOL_EXHAUSTED] = "pool_exhausted",
	    [NTM_E_INTERNAL] = "internal",
	    [NTM_E_BUSY] = "busy",
	};
	size_t i = (size_t)e;

	return i < sizeof(names) / sizeof(*names) && names[i] ? names[i] : "unknown_error";
}

const char *ntm_msg_name(enum ntm_msg m)
{
	static const char *const names[] = {
	    [NTM_M_REGISTRATION_REQUEST] = "registration_request",
	    [NTM_M_REGISTRATION_RESPONSE] = "registration_response",
	    [NTM_M_DIRECTION_REQUEST] = "direction_request",
	    [NTM_M_ROUTE_DIRECTION] = "route_direction",
	    [NTM_M_ROUTE_ACK] = "route_ack",
	    [NTM_M_RELAY_DIRECTION] = "relay_direction",
	    [NTM_M_RELAY_RESPONSE] = "relay_response",
	    [NTM_M_UPDATE_REQUEST] = "update_request",
	    [NTM_M_UPDATE_RESPONSE] = "update_response",
	    [NTM_M_KEEP_ALIVE] = "keep_alive",
	    [NTM_M_KEEP_ALIVE_RESPONSE] = "keep_alive_response",
	    [NTM_M_PROBE] = "probe",
	    [NTM_M_PROBE_RESPONSE] = "probe_response",
	    [NTM_M_RELEASE] = "release",
	    [NTM_M_ERROR] = "error",
	    [NTM_M_CHECK] = "check",
	    [NTM_M_CHECK_RESPONSE] = "check_response",
	    [NTM_M_PEER_HELLO] = "peer_hello",
	    [NTM_M_PEER_HELLO_RESPONSE] = "peer_hello_response",
	    [NTM_M_PEER_DIRECTION_REQUEST] = "peer_direction_request",
	    [NTM_M_PEER_DIRECTION_RESPONSE] = "peer_direction_response",
	    [NTM_M_KEY_UPDATE_REQUEST] = "key_update_request",
	    [NTM_M_KEY_UPDATE_RESPONSE] = "key_update_response",
	    [NTM_M_PATH_REPORT] = "path_report",
	    [NTM_M_PATH_REPORT_RESPONSE] = "path_report_response",
	};
	size_t i = (size_t)m;

	return i < sizeof(names) / sizeof(*names) && names[i] ? names[i] : "unknown_message";
}
