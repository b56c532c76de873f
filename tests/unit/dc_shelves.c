/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>

#include "../../dc/shelves.h"

enum { ROWS = 1000 };

static struct ntm_shelves s;
static struct ntm_shelf_item items[ROWS];

static void setup(void)
{
	ntm_shelves_init(&s);
}

TestSuite(shelves, .init = setup);

static unsigned take(void)
{
	struct ntm_shelf_item *item = ntm_shelves_take(&s);

	cr_assert_not_null(item);
	cr_assert(!item->waits);
	return (unsigned)(item - items);
}

Test(shelves, neighbours_come_together_whatever_the_order_they_were_put_there)
{
	unsigned changes = 0, row, last = ROWS;
	bool seen[ROWS] = {false};

	/* 7 and 1000 have no factor in common: each row once */
	for (unsigned i = 0; i < ROWS; i++)
		ntm_shelves_add(&s, &items[i * 7 % ROWS], i * 7 % ROWS);
	cr_assert_eq(s.n, ROWS);
	for (unsigned i = 0; i < ROWS; i++, last = row) {
		row = take();
		cr_assert(!seen[row]);
		seen[row] = true;
		changes += row / NTM_SHELF_ROWS != last / NTM_SHELF_ROWS;
	}
	cr_assert_eq(changes, (ROWS + NTM_SHELF_ROWS - 1) / NTM_SHELF_ROWS, "each neighbourhood once");
	cr_assert_eq(s.n, 0);
	cr_assert_null(ntm_shelves_take(&s));
}

Test(shelves, what_waits_already_is_put_there_once)
{
	ntm_shelves_add(&s, &items[5], 5);
	ntm_shelves_add(&s, &items[5], 5);
	cr_assert_eq(s.n, 1);
	cr_assert_eq(take(), 5);
	cr_assert_null(ntm_shelves_take(&s));
	ntm_shelves_remove(&s, &items[5]); /* and it may be said again that it does not */
	cr_assert_eq(s.n, 0);
}

Test(shelves, one_that_comes_back_all_the_time_keeps_no_other_waiting)
{
	ntm_shelves_add(&s, &items[40], 40);
	ntm_shelves_add(&s, &items[41], 41);
	ntm_shelves_add(&s, &items[900], 900);
	cr_assert_eq(take(), 40);
	ntm_shelves_add(&s, &items[40], 40);
	cr_assert_eq(take(), 41);
	ntm_shelves_add(&s, &items[41], 41);
	cr_assert_eq(take(), 900);
	cr_assert_eq(take(), 40);
	cr_assert_eq(take(), 41);
}

Test(shelves, any_of_them_can_be_taken_away)
{
	for (unsigned i = 0; i < 4; i++)
		ntm_shelves_add(&s, &items[32 + i], 32 + i);
	ntm_shelves_add(&s, &items[64], 64);
	cr_assert_eq(take(), 32);
	ntm_shelves_remove(&s, &items[35]); /* the last of the shelf that is given out */
	ntm_shelves_remove(&s, &items[33]);
	ntm_shelves_remove(&s, &items[64]); /* and the only one of another */
	cr_assert(!items[33].waits && !items[35].waits && !items[64].waits);
	cr_assert_eq(s.n, 1);
	cr_assert_eq(take(), 34);
	cr_assert_null(ntm_shelves_take(&s));
	ntm_shelves_add(&s, &items[64], 64);
	cr_assert_eq(take(), 64);
}

Test(shelves, rows_without_end_share_the_shelves)
{
	uint64_t far = 7 + (uint64_t)NTM_SHELF_ROWS * NTM_SHELVES;

	ntm_shelves_add(&s, &items[1], far);
	ntm_shelves_add(&s, &items[2], UINT64_MAX);
	ntm_shelves_add(&s, &items[3], 7);
	cr_assert_eq(s.n, 3);
	cr_assert_eq(take(), 2); /* rounds begin at the second shelf */
	cr_assert_eq(take(), 1);
	cr_assert_eq(take(), 3);
}

Test(shelves, what_was_taken_waits_again_unless_the_store_has_it)
{
	for (unsigned i = 0; i < 3; i++)
		ntm_shelves_add(&s, &items[i * 100], i * 100);
	cr_assert_eq(take(), 100); /* rounds begin at the second shelf */
	cr_assert_eq(take(), 200);
	ntm_shelves_taken(&s, false);
	cr_assert_eq(s.n, 3);
	cr_assert_eq(take(), 0);
	cr_assert_eq(take(), 100);
	ntm_shelves_taken(&s, true);
	cr_assert_eq(take(), 200);
	cr_assert_null(ntm_shelves_take(&s));
}

Test(shelves, what_changes_while_it_is_taken_waits_whatever_becomes_of_that)
{
	ntm_shelves_add(&s, &items[1], 1);
	ntm_shelves_add(&s, &items[2], 2);
	ntm_shelves_add(&s, &items[3], 3);
	cr_assert_eq(take(), 1);
	cr_assert_eq(take(), 2);
	cr_assert_eq(take(), 3);
	ntm_shelves_add(&s, &items[1], 1);
	ntm_shelves_remove(&s, &items[2]);
	cr_assert(!items[2].taken);
	ntm_shelves_taken(&s, true);
	cr_assert_eq(s.n, 1);
	cr_assert_eq(take(), 1);
	ntm_shelves_taken(&s, false);
	ntm_shelves_taken(&s, true); /* of none */
	cr_assert_eq(s.n, 1);
	cr_assert_eq(take(), 1);
}
