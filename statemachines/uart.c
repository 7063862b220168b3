/* A 16550A. Input waits in a FIFO; output leaves at once.
 *
 * Invariants: rx_count <= 256; `line` is the level of the interrupt line after
 * the last step: an enabled cause is pending and OUT2 gates it through. An IRQ
 * is asked for exactly when the line rises. */
#include "statemachines/uart.h"

#include "statemachines/effects.h"
#include "statemachines/machines.h"
#include "statemachines/ports.h"

#include <string.h>

enum {
	REG_DATA = 0, REG_IER = 1, REG_IIR_FCR = 2, REG_LCR = 3,
	REG_MCR = 4, REG_LSR = 5, REG_MSR = 6, REG_SCR = 7,
};
enum {
	IER_RX = 1, IER_THRE = 2, IER_LINE = 4, IER_MASK = 0x0f,
	IIR_NONE = 1, IIR_THRE = 2, IIR_RX = 4, IIR_LINE = 6, IIR_FIFOS = 0xc0,
	FCR_ENABLE = 1, FCR_CLEAR_RX = 2,
	LCR_DLAB = 0x80,
	MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10, MCR_MASK = 0x1f,
	LSR_DATA = 1, LSR_OVERRUN = 2, LSR_THRE = 0x20, LSR_IDLE = 0x40,
	MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80,
	FIFO = 256,
};

static bool holds_fifo(const void *self)
{
	const struct uart *u = self;

	return u->rx_count <= FIFO && u->rx_head < FIFO;
}

/* ---- interrupts ------------------------------------------------------- */

static uint8_t cause(const struct uart *u)
{
	if ((u->ier & IER_LINE) && u->overrun)
		return IIR_LINE;
	if ((u->ier & IER_RX) && u->rx_count)
		return IIR_RX;
	if ((u->ier & IER_THRE) && u->thre)
		return IIR_THRE;
	return IIR_NONE;
}

static void update_line(struct sm_cx *cx)
{
	struct uart *u = cx->self;
	struct rec_irq irq = { .gsi = GSI_UART };
	bool high = cause(u) != IIR_NONE && (u->mcr & MCR_OUT2) && !(u->mcr & MCR_LOOP);

	if (high && !u->line)
		sm_effect(cx, EFFECT_IRQ, &irq, NULL, 0);
	u->line = high;
}

/* ---- data ------------------------------------------------------------- */

static void push(struct uart *u, uint8_t byte)
{
	if (u->rx_count == FIFO) {
		u->overrun = true;
		u->dropped++;
		return;
	}
	u->rx[(u->rx_head + u->rx_count) % FIFO] = byte;
	u->rx_count++;
}

static uint8_t pop(struct uart *u)
{
	uint8_t byte;

	if (u->rx_count == 0)
		return 0;
	byte = u->rx[u->rx_head];
	u->rx_head = (uint16_t)((u->rx_head + 1) % FIFO);
	u->rx_count--;
	return byte;
}

static void put_out(struct sm_cx *cx, const uint8_t *bytes, size_t len)
{
	struct uart *u = cx->self;
	struct rec_bytes b = { .position = u->out_position };

	u->out_position += len;
	if (len)
		sm_effect(cx, EFFECT_CONSOLE_OUT, &b, bytes, len);
}

static void transmit(struct sm_cx *cx, uint8_t byte)
{
	struct uart *u = cx->self;

	if (u->mcr & MCR_LOOP)
		push(u, byte);
	else
		put_out(cx, &byte, 1);
	u->thre = true;
}

/* ---- registers -------------------------------------------------------- */

static uint8_t modem_status(const struct uart *u)
{
	if (!(u->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
			 (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static uint8_t line_status(struct uart *u)
{
	uint8_t v = (uint8_t)(LSR_THRE | LSR_IDLE | (u->rx_count ? LSR_DATA : 0) |
			      (u->overrun ? LSR_OVERRUN : 0));

	u->overrun = false;
	return v;
}

static uint8_t interrupt_identity(struct uart *u)
{
	uint8_t c = cause(u);

	if (c == IIR_THRE)
		u->thre = false;
	return (uint8_t)(c | (u->fcr & FCR_ENABLE ? IIR_FIFOS : 0));
}

static uint8_t register_value(struct uart *u, unsigned reg)
{
	switch (reg) {
	case REG_DATA:
		return u->lcr & LCR_DLAB ? u->dll : pop(u);
	case REG_IER:
		return u->lcr & LCR_DLAB ? u->dlm : u->ier;
	case REG_IIR_FCR:
		return interrupt_identity(u);
	case REG_LCR:
		return u->lcr;
	case REG_MCR:
		return u->mcr;
	case REG_LSR:
		return line_status(u);
	case REG_MSR:
		return modem_status(u);
	default:
		return u->scr;
	}
}

static void set_ier(struct uart *u, uint8_t value)
{
	/* Enabling the transmitter interrupt while it is empty raises it. */
	if ((value & IER_THRE) && !(u->ier & IER_THRE))
		u->thre = true;
	u->ier = value & IER_MASK;
}

static void set_fcr(struct uart *u, uint8_t value)
{
	if ((value & FCR_CLEAR_RX) || ((value ^ u->fcr) & FCR_ENABLE))
		u->rx_head = u->rx_count = 0;
	u->fcr = value & 0xc9;
}

static void set_register(struct sm_cx *cx, unsigned reg, uint8_t value)
{
	struct uart *u = cx->self;

	switch (reg) {
	case REG_DATA:
		if (u->lcr & LCR_DLAB)
			u->dll = value;
		else
			transmit(cx, value);
		break;
	case REG_IER:
		if (u->lcr & LCR_DLAB)
			u->dlm = value;
		else
			set_ier(u, value);
		break;
	case REG_IIR_FCR:
		set_fcr(u, value);
		break;
	case REG_LCR:
		u->lcr = value;
		break;
	case REG_MCR:
		u->mcr = value & MCR_MASK;
		break;
	case REG_SCR:
		u->scr = value;
		break;
	default:
		break;
	}
}

static void answer(struct sm_cx *cx, uint64_t value)
{
	const struct rec_vp_pio *p = cx->p;
	struct rec_mailbox_answer a = { .value = value, .generation = p->generation, .vp = p->vp };

	sm_effect(cx, EFFECT_MAILBOX_ANSWER, &a, NULL, 0);
}

/* ---- events ----------------------------------------------------------- */

static bool is_read(const struct sm_cx *cx)
{
	return ((const struct rec_vp_pio *)cx->p)->is_in != 0;
}

/* A wider access reads its first register, and ones above it. */
static void read_register(struct sm_cx *cx)
{
	const struct rec_vp_pio *p = cx->p;
	uint64_t above = p->size >= 4 ? 0xffffff00u : p->size == 2 ? 0xff00 : 0;
	uint8_t value = register_value(cx->self, p->port - PORT_UART);

	update_line(cx);
	answer(cx, above | value);
}

static void write_register(struct sm_cx *cx)
{
	const struct rec_vp_pio *p = cx->p;

	set_register(cx, p->port - PORT_UART, (uint8_t)p->value);
	update_line(cx);
	answer(cx, 0);
}

static void take_input(struct sm_cx *cx)
{
	for (uint32_t i = 0; i < cx->tail_len; i++)
		push(cx->self, cx->tail[i]);
	update_line(cx);
}

static void print(struct sm_cx *cx)
{
	put_out(cx, cx->tail, cx->tail_len);
}

/* The counters go on: console positions are of the VM, not of one boot. */
static void reset(struct sm_cx *cx)
{
	struct uart *u = cx->self;

	u->ier = u->lcr = u->mcr = u->scr = u->fcr = u->dll = u->dlm = 0;
	u->thre = u->line = u->overrun = false;
	u->rx_head = u->rx_count = 0;
}

#define SM_DEF "statemachines/uart.def"
#define SM_PREFIX uart
#define SM_KIND KIND_uart
#define SM_CAPACITY CAPACITY_uart
#define SM_DOC "The serial console: a 16550A at port 0x3f8 (National Semiconductor PC16550D)."
#include "engine/sm_define.h"
